// Roasts, stored; a WebSocket that tells of new ones; a health report as the document writes it.
import { createServer } from "node:http";
import pg from "pg";
import { WebSocketServer } from "ws";

for (const name of ["DATABASE_URL", "JWT_SECRET"]) {
  if (!process.env[name]) {
    console.error(`${name} is not set`);
    process.exit(1);
  }
}
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 4, connectionTimeoutMillis: 1500 });
pool.on("error", (error) => console.error(`the database broke off: ${error.message}`));
const began = Date.now();

async function health() {
  const asked = Date.now();
  const reached = await pool.query("select 1").then(() => true, () => false);
  const used = process.memoryUsage().rss / 2 ** 20;
  const total = Number(process.env.MEMORY_LIMIT_MB ?? 512);
  const percentage = Math.round((used / total) * 100);
  const status = !reached ? "unhealthy" : percentage > 90 ? "degraded" : "healthy";
  return {
    status,
    timestamp: new Date().toISOString(),
    version: process.env.SLIPWAY_VERSION ?? "0",
    uptime: Math.round((Date.now() - began) / 1000),
    checks: {
      database: { status: reached ? "healthy" : "unhealthy", responseTime: Date.now() - asked },
      memory: { used: Math.round(used), total, percentage },
    },
  };
}

const server = createServer(async (request, response) => {
  const send = (status, value) => response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
  const { pathname } = new URL(request.url, "http://here");
  try {
    if (pathname === "/health") {
      const report = await health();
      return send(report.status === "unhealthy" ? 503 : 200, report);
    }
    if (pathname === "/api/roasts" && request.method === "GET") {
      return send(200, (await pool.query("select id, text from roasts order by id")).rows);
    }
    if (pathname === "/api/roasts" && request.method === "POST") {
      const parts = [];
      for await (const part of request) parts.push(part);
      const { text } = JSON.parse(Buffer.concat(parts).toString());
      const { rows } = await pool.query("insert into roasts (text) values ($1) returning id, text", [text]);
      for (const socket of sockets.clients) socket.send(JSON.stringify(rows[0]));
      return send(200, rows[0]);
    }
    if (pathname === "/api/auth" && request.method === "POST") return send(200, { expiresIn: process.env.JWT_EXPIRES_IN });
    return send(404, { error: "nothing is here" });
  } catch (error) {
    console.error(error.message);
    return send(503, { error: "try again later" });
  }
});
const sockets = new WebSocketServer({ server, path: "/socket" });
server.listen(Number(process.env.PORT ?? 5000), process.env.HOST ?? "127.0.0.1", () => console.log("listening"));
process.on("SIGTERM", () => {
  for (const socket of sockets.clients) socket.close(1001);
  server.close(() => process.exit(0));
});
