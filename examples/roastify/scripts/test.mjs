// Before a deploy: every migration has a way back.
import { existsSync, readdirSync } from "node:fs";

const missing = readdirSync("migrations").filter((name) => name.endsWith(".up.sql") && !existsSync(`migrations/${name.replace(".up.", ".down.")}`));
if (missing.length > 0) {
  console.error(`no way back: ${missing.join(", ")}`);
  process.exit(1);
}
