// Before a deploy: what the team makes sure of.
import { existsSync } from "node:fs";

const missing = ["package-lock.json", "migrations", "web/index.html"].filter((path) => !existsSync(path));
if (missing.length > 0) {
  console.error(`missing: ${missing.join(", ")}`);
  process.exit(1);
}
