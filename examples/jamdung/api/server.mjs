// Here: a web server.
import { createServer } from "node:http";
import { handle } from "./app.mjs";

const server = createServer(async (request, response) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  const { method, headers } = request;
  const { pathname: path } = new URL(request.url, "http://here");
  const answer = await handle({ method, path, headers, body: Buffer.concat(parts) });
  response.writeHead(answer.status, answer.headers).end(answer.body);
});
server.listen(Number(process.env.PORT ?? 5000), process.env.HOST ?? "127.0.0.1", () => console.log("listening"));
process.on("SIGTERM", () => server.close(() => process.exit(0)));
