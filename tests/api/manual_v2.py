"""
The examples of the v2 manual, as it prints them: only the masked numbers are filled in.

``MESSAGES`` are whole messages, ``FRAGMENTS`` parts of one; :func:`whole` puts a fragment where it belongs.
"""

from __future__ import annotations

import json
import re
from typing import Any

MESSAGES: dict[str, str] = {
    "text": """
{
    "recipients": [
        {
            "phone": "+421903123456"
        }
    ],
    "channels": [
        {
            "type": "rcs",
            "ttl": 30
        },
        {
            "type": "sms"
        }
    ],
    "callbackUrls": [
        {
            "url": "https.zakaznik.app/callback",
            "types": [
                "postback",
                "dsn"
            ]
        }
    ],
    "rcs": {
        "text": "Prajete si dostávať správy z tohto čísla?",
        "suggestions": [
            {
                "reply": {
                    "text": "Áno",
                    "postbackData": "yes"
                }
            },
            {
                "reply": {
                    "text": "Nie",
                    "postbackData": "no"
                }
            }
        ]
    },
    "sms": {
        "text": "Fallback SMS, pokiaľ príjemca nie je dostupný pre RCS"
    }
}
""",
    "file": """
{
    "recipients": [
        {
            "phone": "+421903123456"
        }
    ],
    "channels": [
        {
            "type": "rcs",
            "ttl": 30
        },
        {
            "type": "sms"
        }
    ],
    "callbackUrls": [
        {
            "url": "https.zakaznik.app/callback",
            "types": [
                "postback",
                "dsn"
            ]
        }
    ],
    "rcs": {
        "file": {
            "url": "https://pdfobject.com/pdf/sample.pdf"
        },
        "suggestions": [
            {
                "action": {
                    "text": "Vyberte polohu",
                    "postbackData": "test_text",
                    "fallbackUrl": "https://google.com",
                    "shareLocation": {}
                }
            }
        ]
    },
    "sms": {
        "text": "Fallback SMS, pokiaľ príjemca nie je dostupný pre RCS"
    }
}
""",
    "standaloneCard": """
{
    "recipients": [
        {
            "phone": "+421903123456"
        }
    ],
    "channels": [
        {
            "type": "rcs",
            "ttl": 30
        },
        {
            "type": "sms"
        }
    ],
    "callbackUrls": [
        {
            "url": "https.zakaznik.app/callback",
            "types": [
                "postback",
                "dsn"
            ]
        }
    ],
    "rcs": {
        "standaloneCard": {
            "cardOrientation": "VERTICAL",
            "thumbnailImageAlignment": "LEFT",
            "cardContent": {
                "title": "StandaloneCard Titulka",
                "description": "StandaloneCard Popis",
                "media": {
                    "height": "TALL",
                    "contentInfo": {
                        "fileUrl": "https://www.google.com/logos/doodles/2015/googles-new-logo-5078286822539264.3-hp2x.gif"
                    }
                },
                "suggestions": [
                    {
                        "reply": {
                            "text": "Áno",
                            "postbackData": "yes"
                        }
                    },
                    {
                        "reply": {
                            "text": "Nie",
                            "postbackData": "no"
                        }
                    }
                ]
            }
        }
    },
    "sms": {
        "text": "Fallback SMS, pokiaľ príjemca nie je dostupný pre RCS"
    }
}
""",
    "carouselCard": """
{
    "recipients": [
        {
            "phone": "+421903123456"
        }
    ],
    "channels": [
        {
            "type": "rcs",
            "ttl": 30
        },
        {
            "type": "sms"
        }
    ],
    "callbackUrls": [
        {
            "url": "https.zakaznik.app/callback",
            "types": [
                "postback",
                "dsn"
            ]
        }
    ],
    "rcs": {
        "carouselCard": {
            "cardWidth": "MEDIUM",
            "cardContents": [
                {
                    "title": "Google Karta",
                    "description": "Karta s výškou obrázka SHORT",
                    "media": {
                        "height": "SHORT",
                        "contentInfo": {
                            "fileUrl": "https://services.google.com/fh/files/misc/google_g_icon_download.png"
                        }
                    },
                    "suggestions": [
                        {
                            "action": {
                                "text": "Otvoriť Google",
                                "postbackData": "open_google",
                                "fallbackUrl": "https://google.com",
                                "openUrl": {
                                    "url": "https://google.com"
                                }
                            }
                        }
                    ]
                },
                {
                    "title": "Telekom karta",
                    "description": "Karta s výškou obrázka TALL",
                    "media": {
                        "height": "TALL",
                        "contentInfo": {
                            "fileUrl": "https://www.telekom.sk/documents/10179/19896051/telekom-logo.png"
                        }
                    },
                    "suggestions": [
                        {
                            "action": {
                                "text": "Zavolať podporu",
                                "postbackData": "call_support",
                                "fallbackUrl": "https://telekom.sk",
                                "dial": {
                                    "phoneNumber": "0800123456"
                                }
                            }
                        }
                    ]
                }
            ]
        }
    },
    "sms": {
        "text": "Fallback SMS, pokiaľ príjemca nie je dostupný pre RCS"
    }
}
""",
}

FRAGMENTS: dict[str, str] = {
    "recipients": """
"recipients": [
    {
        "phone": "+421903123456",
        "externalId": "8e9b404f-fd1d-4633-926c-13c286514427"
    },
    {
        "phone": "+421905123456",
        "externalId": "caf87152-2b04-4f67-a97a-963efc3f0c21"
    }
]
""",
    "channels": """
"channels": [
    {
        "type": "rcs",
        "ttl": 5
    },
    {
        "type": "sms"
    }
],
""",
    "callbackUrls, two": """
"callbackUrls": [
    {
        "url": "https://zakaznik.app/postback",
        "types": [
            "postback"
        ]
    },
    {
        "url": "https://zakaznik.app/dsn",
        "types": [
            "dsn"
        ]
    }
]
""",
    "callbackUrls, one": """
"callbackUrls": [
    {
        "url": "https://zakaznik.app/callbacks",
        "types": [
            "postback",
            "dsn"

        ]
    }
]
""",
    "sms": """
"sms": {
    "text": "Text that will have diacritics stripped.",
    "unicode":false
},
""",
    "rcs.file": """
"rcs":{
    "file": {
        "url": "https://www.google.com/logos/doodles/2015/googles-new-logo-5078286822539264.3-hp2x.gif",
            "forceRefresh": true
    },
    "suggestions":{
    //.....
    }
}
""",
    "rcs.standaloneCard": """
"rcs": {
    "standaloneCard": {
        "cardOrientation": "HORIZONTAL",
        "height": "TALL",
        "thumbnailImageAlignment": "RIGHT",
        "cardContent": {
            "title": "Slovak Telekom",
            "media": {
                "contentInfo": {
                    "fileUrl": "https://www.telekom.sk/documents/10179/19896051/telekom-logo.png"
                }
            },
            "suggestions": [
                {
                    "action": {
                        "text": "Call support",
                        "postbackData": "call_support",
                        "dial": {
                            "phoneNumber": "+421800123456"
                        }
                    }
                }
            ]
        }
    }
}
""",
    "rcs.carouselCard": """
"rcs":{
    "carouselCard":{
        "cardWidth": "MEDIUM",
        "cardContents": [
            {
                "title": "Slovak Telekom Stores",
                "media": {
                    "height": "TALL",
                    "contentInfo": {
                        "fileUrl": "https://www.telekom.sk/documents/10179/19720195/spolupraca.jpg"
                    }
                },
                "suggestions": [
                    {
                        "action": {
                            "text": "Show stores",
                            "postbackData": "open_url_nearby_stores",
                            "fallbackUrl": "https://www.telekom.sk/",
                            "viewLocation": {
                                "query": "Slovak Telekom store"
                            }
                        }
                    },
                    {
                        "action": {
                            "text": "Call customer support",
                            "postbackData": "dial_support",
                            "fallbackUrl": "https://www.telekom.sk/",
                            "dial": {
                                "phoneNumber": "+421800123456"
                            }
                        }
                    }
                ]
            },
            {
                "title": "Slovak Telekom",
                "media": {
                    "height": "MEDIUM",
                    "contentInfo": {
                        "fileUrl": "https://www.telekom.sk/documents/10179/19896051/telekom-logo.png"
                    }
                },
                "suggestions": [
                    {
                        "action": {
                            "text": "Calls",
                            "postbackData": "open_url_calls",
                            "openUrl": {
                                "url": "https://www.telekom.sk/volania"
                            }
                        }
                    },
                    {
                        "action": {
                            "text": "Internet",
                            "postbackData": "open_url_internet",
                            "openUrl": {
                                "url": "https://www.telekom.sk/internet"
                            }
                        }
                    },
                    {
                        "action": {
                            "text": "Television",
                            "postbackData": "open_url_tv",
                            "openUrl": {
                                "url": "https://www.telekom.sk/televizia"
                            }
                        }
                    },
                    {
                        "action": {
                            "text": "Download app",
                            "postbackData": "open_url_app",
                            "openUrl": {
                                "url": "https://play.google.com/store/apps/details?id=com.telekom.portal"
                            }
                        }
                    }
                ]
            }
        ]
    }
}
""",
    "contentInfo": """
"contentInfo": {
    "fileUrl": "https://www.google.com/logos/doodles/2015/googles-new-logo-5078286822539264.3-hp2x.gif",
    "thumbnailUrl": "https://www.google.com/logos/doodles/2015/googles-new-logo-5078286822539264.3-hp2x-thumbnail.gif",
    "forceRefresh": true
}
""",
    "suggestions": """
"suggestions": [
    {
        "reply": {
            "text": "Yes",
            "postbackData": "yes"
        }
    },
    {
        "reply": {
            "text": "No",
            "postbackData": "no"
        }
    },
    {
        "action": {
            "text": "Call support",
            "postbackData": "call_support",
            "dial": {
                "phoneNumber": "+421800123456"
            }
        }
    }
]
""",
    "suggestions.reply": """
{
    "reply": {
        "text": "Yes",
        "postbackData": "yes"
    }
}
""",
    "dial": """
{
    "action": {
        "text": "Call support",
        "postbackData": "call_support",
        "dial": {
            "phoneNumber": "+421800123456"
        }
    }
}
""",
    "viewLocation": """
{
   "action": {
        "text": "Slovak Telekom",
        "postbackData": "view_location",
        "viewLocation": {
            "query": "Slovak Telekom"
        }
    }
}
""",
    "latLong": """
{
    "latitude": 49.16259795554555,
    "longitude": 19.999893522995347
}
""",
    "openUrl": """
{
    "action": {
        "text": "Telekom app",
        "postbackData": "test_text",
        "openUrl": {
            "url": "https://play.google.com/store/apps/details?id=com.telekom.portal",
            "description": "Popis url"
        }
    }
}
""",
    "createCalendarEvent": """
{
    "action": {
        "text": "Add to calendar",
        "postbackData": "calendar",
        "createCalendarEvent": {
            "title": "Event name",
            "description" : "Event description",
            "startDateTime": "2025-05-16T14:00:00.00+02:00",
            "endDateTime": "2025-05-16T14:30:00.00+02:00"
        }
    }
}
""",
}

_COMMENT = re.compile(r'"suggestions":\{\s*//\.+\s*\}')


def read(text: str) -> Any:
    """
    Read an example: a value, or a key and a value as they stand within an object.

    :param text: of ``MESSAGES`` or ``FRAGMENTS``
    """
    text = _COMMENT.sub('"suggestions": []', text).strip().rstrip(",")
    return json.loads(text if text.startswith("{") else f"{{{text}}}")


def whole(name: str) -> dict[str, Any]:
    """
    Give a message that holds a fragment.

    :param name: of ``FRAGMENTS``
    """
    part = read(FRAGMENTS[name])
    message: dict[str, Any] = {
        "recipients": [{"phone": "+421903123456"}],
        "channels": [{"type": "rcs"}, {"type": "sms"}],
        "rcs": {"text": "Ahoj"},
        "sms": {"text": "Ahoj"},
    }
    if name == "contentInfo":
        card = {"media": {"height": "TALL", **part}}
        message["rcs"] = {"standaloneCard": {"cardOrientation": "VERTICAL", "cardContent": card}}
    elif name == "latLong":
        action = {"text": "Mapa", "postbackData": "mapa", "viewLocation": {"latLong": part}}
        message["rcs"]["suggestions"] = [{"action": action}]
    elif name == "suggestions":
        message["rcs"] |= part
    elif "reply" in part or "action" in part:
        message["rcs"]["suggestions"] = [part]
    else:
        message |= part
    return message


def examples() -> dict[str, dict[str, Any]]:
    """Give every example as a message of its own, by its name in the manual."""
    return {name: read(text) for name, text in MESSAGES.items()} | {name: whole(name) for name in FRAGMENTS}
