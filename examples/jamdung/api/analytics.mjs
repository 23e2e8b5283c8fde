// One event of the topic: a row.
import { readFileSync } from "node:fs";
import pg from "pg";

const event = JSON.parse(readFileSync(0, "utf8"));
const client = new pg.Client({ connectionString: process.env.DATABASE_URL });
await client.connect();
// delivered at least once, kept once
await client.query("insert into events (event, name, data) values ($1, $2, $3) on conflict (event) do nothing", [event.id, event.data.name, event.data]);
await client.end();
console.log(`kept ${event.data.name}`);
