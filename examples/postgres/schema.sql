-- Runs again after every `harness stop --all`: it must not mind what is there.
SET client_min_messages = warning;

CREATE TABLE IF NOT EXISTS tag (
    id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    label text NOT NULL UNIQUE
);

INSERT INTO tag (label) VALUES ('red'), ('green'), ('blue') ON CONFLICT DO NOTHING;
