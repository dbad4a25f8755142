INSERT INTO visit (who) VALUES (:'who');
SELECT format('%s  %s  %s', id, to_char(at, 'YYYY-MM-DD HH24:MI:SS'), who) FROM visit ORDER BY id DESC LIMIT 20;
