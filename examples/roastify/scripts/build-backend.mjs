// The backend and what it depends on, in dist/backend.
import { execSync } from "node:child_process";
import { cpSync, rmSync } from "node:fs";

rmSync("dist/backend", { recursive: true, force: true });
cpSync("backend", "dist/backend", { recursive: true });
for (const file of ["package.json", "package-lock.json"]) cpSync(file, `dist/backend/${file}`);
execSync("npm ci --omit=dev --ignore-scripts --no-audit --no-fund", { cwd: "dist/backend", stdio: "inherit" });
