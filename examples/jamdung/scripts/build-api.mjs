// The API and what it depends on, in dist/api.
import { execSync } from "node:child_process";
import { cpSync, rmSync } from "node:fs";

rmSync("dist/api", { recursive: true, force: true });
cpSync("api", "dist/api", { recursive: true });
for (const file of ["package.json", "package-lock.json"]) cpSync(file, `dist/api/${file}`);
execSync("npm ci --omit=dev --ignore-scripts --no-audit --no-fund", { cwd: "dist/api", stdio: "inherit" });
