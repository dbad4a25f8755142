-- Runs again after every `harness stop --all`: it must not mind what is there.
SET client_min_messages = warning;

CREATE TABLE IF NOT EXISTS visit (
    id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at   timestamptz NOT NULL DEFAULT now(),
    who  text NOT NULL
);
