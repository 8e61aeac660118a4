// Follows the theme that Airflow is set to, and keeps a page that shows work in progress up to date.
"use strict";
(() => {
  const root = document.documentElement;
  const follow = () => {
    let theme = null;
    try { theme = localStorage.getItem("theme"); } catch { /* not allowed to look */ }
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
  };
  follow();
  addEventListener("storage", follow);
  const seconds = Number(root.dataset.reload);
  if (seconds > 0) setInterval(() => {
    const busy = document.querySelector("details[open], input:focus, select:focus");
    if (!document.hidden && !busy && !String(getSelection())) location.reload();
  }, seconds * 1000);
})();
