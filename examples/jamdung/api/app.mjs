// The API itself: a request in, an answer out. Who listens is in server.mjs and lambda.mjs.
import { createHash, createHmac } from "node:crypto";
import pg from "pg";

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 4 });
const origins = (process.env.ALLOWED_ORIGINS ?? "").split(",").filter(Boolean);

const json = (status, value) => ({ status, headers: { "content-type": "application/json" }, body: JSON.stringify(value) });

const hmac = (key, text) => createHmac("sha256", key).update(text).digest();
const sha = (bytes) => createHash("sha256").update(bytes).digest("hex");

// An object of the bucket, by a request signed with version 4 of the signature.
async function object(method, key, body = Buffer.alloc(0)) {
  const { S3_ENDPOINT, FILES_BUCKET, AWS_ACCESS_KEY_ID: access, AWS_SECRET_ACCESS_KEY: secret, AWS_REGION: region } = process.env;
  const { host } = new URL(S3_ENDPOINT);
  const at = new Date().toISOString().replace(/[-:]|\.\d+/g, "");
  const path = `/${FILES_BUCKET}/${key}`;
  const names = "host;x-amz-content-sha256;x-amz-date";
  const canonical = [method, path, "", `host:${host}`, `x-amz-content-sha256:${sha(body)}`, `x-amz-date:${at}`, "", names, sha(body)].join("\n");
  const scope = `${at.slice(0, 8)}/${region}/s3/aws4_request`;
  const signing = scope.split("/").reduce(hmac, `AWS4${secret}`);
  const signature = hmac(signing, ["AWS4-HMAC-SHA256", at, scope, sha(canonical)].join("\n")).toString("hex");
  const headers = {
    "x-amz-date": at,
    "x-amz-content-sha256": sha(body),
    authorization: `AWS4-HMAC-SHA256 Credential=${access}/${scope}, SignedHeaders=${names}, Signature=${signature}`,
  };
  return fetch(`${S3_ENDPOINT.replace(/\/$/, "")}${path}`, { method, headers, body: method === "PUT" ? body : undefined });
}

async function answer({ method, path, headers, body }) {
  if (path === "/health") {
    const began = Date.now();
    const reached = await pool.query("select 1").then(() => true, () => false);
    const status = reached ? "healthy" : "unhealthy";
    return json(reached ? 200 : 503, { status, version: process.env.SLIPWAY_RELEASE, checks: { database: { status, responseTime: Date.now() - began } } });
  }
  if (path === "/jobs" && method === "GET") {
    return json(200, (await pool.query("select id, title from jobs order by id")).rows);
  }
  if (path === "/jobs" && method === "POST") {
    const { title } = JSON.parse(body.toString());
    return json(200, (await pool.query("insert into jobs (title) values ($1) returning id, title", [title])).rows[0]);
  }
  if (path === "/searches" && method === "POST") {
    const { query } = JSON.parse(body.toString());
    const told = await fetch(process.env.ANALYTICS_TOPIC_URL, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ name: "trackJobSearch", query, source: process.env.NODE_ENV }),
    });
    return json(told.ok ? 202 : 503, { tracked: told.ok });
  }
  if (path === "/uploads" && method === "POST") {
    const name = (headers["x-name"] ?? "file").replace(/[^a-zA-Z0-9.-]/g, "-");
    const key = `uploads/${Date.now()}-${name}`;
    const stored = await object("PUT", key, body);
    return json(stored.ok ? 200 : 503, { key });
  }
  if (path.startsWith("/uploads/") && method === "GET") {
    const found = await object("GET", path.slice(1));
    if (!found.ok) return json(404, { error: "no such file" });
    return { status: 200, headers: { "content-type": "application/octet-stream" }, body: Buffer.from(await found.arrayBuffer()) };
  }
  if (path === "/events" && method === "GET") {
    return json(200, (await pool.query("select name, data from events order by id")).rows);
  }
  return json(404, { error: "nothing is here" });
}

export async function handle(request) {
  const { origin } = request.headers;
  // with credentials one origin is echoed, never a list
  const cors = origins.includes(origin) ? { "access-control-allow-origin": origin, "access-control-allow-credentials": "true", vary: "origin" } : {};
  try {
    const answered = await answer(request);
    return { ...answered, headers: { ...answered.headers, ...cors } };
  } catch (error) {
    console.error(error.message);
    return json(503, { error: "try again later" });
  }
}
