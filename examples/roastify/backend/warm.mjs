// Counts roasts, so that the first visitor does not wait.
import pg from "pg";

const client = new pg.Client({ connectionString: process.env.DATABASE_URL });
await client.connect();
const { rows } = await client.query("select count(*) from roasts");
await client.end();
console.log(`${rows[0].count} roasts`);
