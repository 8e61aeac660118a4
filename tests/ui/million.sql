-- A thousand campaigns of a hundred messages each, and a million messages in the first campaign's plan.
INSERT INTO telekom_sms_campaign (name_hash, name, state, created_at)
    SELECT lpad(n::text, 64, 'x'), 'daily/' || n, 'active', t.now - 86400000 FROM generate_series(1, 1000) n,
    (SELECT (extract(epoch FROM now()) * 1000)::bigint AS now) t;
INSERT INTO telekom_sms_plan (campaign_id, owner_id, slot, fingerprint, state, fallback, parameters, created_at)
    SELECT id, 0, name, '', 'ready', false, '{}', created_at FROM telekom_sms_campaign WHERE id > 1;
INSERT INTO telekom_sms_message (campaign_id, plan_id, row, phone, parts, state, is_final, delivery_code, state_at)
    SELECT campaign_id, id, n, '421903000000', 1, 'accepted', true, 'DELIVERED', created_at
    FROM telekom_sms_plan, generate_series(1, 100) n WHERE id > 1;
INSERT INTO telekom_sms_message (campaign_id, plan_id, row, key_hash, phone, text, parts, state, reason, state_at,
        message_id, delivery_code, delivered_at, is_final)
    SELECT 1, 1, n, decode(lpad(to_hex(n), 32, '0'), 'hex'), '4219' || lpad(n::text, 8, '0'),
        CASE WHEN kind IN ('planned', 'in_doubt') THEN 'Dobrý deň ' || n END, 1 + n % 2,
        CASE WHEN kind = upper(kind) THEN 'accepted' ELSE kind END,
        CASE kind WHEN 'rejected' THEN 'WRONG_PHONE_NUMBER: Phone number is wrong'
            WHEN 'in_doubt' THEN 'no reply within 30 s'
            WHEN 'invalid' THEN 'phone number +4219••••' || lpad((n % 10000)::text, 4, '0') || ' is wrong' END,
        t.now - 7200000 + n * 7, CASE WHEN kind = upper(kind) THEN 'm' || n END,
        CASE WHEN kind = upper(kind) THEN kind END,
        CASE WHEN kind IN ('DELIVERED', 'READ') THEN t.now - 7200000 + n * 7 + (n * 7919::bigint) % 200000 END,
        kind = upper(kind) AND kind <> 'SENT'
    FROM (SELECT n, CASE WHEN n > 1000000 * 0.9 THEN 'planned' WHEN n % 5000 = 1 THEN 'in_doubt'
            WHEN n % 200 = 2 THEN 'rejected' WHEN n % 100 = 3 THEN 'invalid' WHEN n % 50 = 4 THEN 'UNDELIVERABLE'
            WHEN n % 60 = 5 THEN 'EXPIRED' WHEN n % 10 = 6 THEN 'SENT' WHEN n % 4 = 0 THEN 'READ'
            ELSE 'DELIVERED' END AS kind FROM generate_series(1, 1000000) n) rows,
    (SELECT (extract(epoch FROM now()) * 1000)::bigint AS now) t;
ANALYZE;
