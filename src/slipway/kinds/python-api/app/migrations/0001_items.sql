-- What is in stock, and something to begin with.
CREATE TABLE items (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE CHECK (name <> ''),
    stock integer NOT NULL CHECK (stock >= 0)
);
INSERT INTO items (name, stock) VALUES ('anchor', 12), ('cable', 40), ('compass', 7), ('lantern', 23);
