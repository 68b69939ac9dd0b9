-- Takes what was decided: `costream migrate down` asks for --drop-data before it runs this.
DROP VIEW IF EXISTS dead_letter_states;
DROP TABLE IF EXISTS dead_letter_states_rows;
