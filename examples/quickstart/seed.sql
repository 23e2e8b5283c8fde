-- Invented ships for a fresh development database; hours ago, in milliseconds.
WITH log (hours, kind, vessel, port, note) AS (
    VALUES
        (52.0, 'arrival',   'Marta of Husum',  'Husum',      'Forty crates of oysters, all still talking.'),
        (49.5, 'note',      '',                '',           'Wind south-west, five to six. The lighthouse keeper''s cat has had kittens.'),
        (46.2, 'departure', 'Marta of Husum',  'Esbjerg',    'Left on the morning tide with one kitten more than declared.'),
        (27.0, 'arrival',   'Albatros',        'Bergen',     'Three masts, one piano, no pianist.'),
        (25.4, 'arrival',   'Kleine Brise',    'Norderney',  'Mail, newspapers, and a very small goat.'),
        (22.9, 'note',      '',                '',           'Buoy 7 is back where the chart says it should be.'),
        (5.1,  'departure', 'Albatros',        'Lisbon',     'Found a pianist.'),
        (2.3,  'arrival',   'Nordlys',         'Tromsø',     'Ice on the rigging and coffee for everybody.'),
        (0.4,  'departure', 'Kleine Brise',    'Norderney',  'The goat stays with us.')
)
INSERT INTO entries (kind, vessel, port, note, at, draft)
SELECT kind, vessel, port, note, CAST((julianday('now') - 2440587.5) * 86400000 - hours * 3600000 AS INTEGER), 0 FROM log;
