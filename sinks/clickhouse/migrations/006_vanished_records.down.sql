-- Takes the record of what was lost: `costream migrate down` asks for --drop-data before it runs this.
DROP TABLE IF EXISTS vanished_records;
