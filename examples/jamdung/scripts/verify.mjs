// After a deploy: the API answers, and an upload comes back. Asked at the edge, which knows the name before the world does.
import { request } from "node:http";

const edge = process.env.SLIPWAY_EDGE ?? "http://127.0.0.1:8100";
const ask = (method, path, headers = {}, body) =>
  new Promise((resolve, reject) => {
    const asked = request(edge, { method, path, headers: { ...headers, host: "api.jamdungjobs.com" } }, async (answer) => {
      let text = "";
      for await (const piece of answer) text += piece;
      resolve({ status: answer.statusCode, text });
    });
    asked.on("error", reject).end(body);
  });

const health = await ask("GET", "/health");
const stored = await ask("POST", "/uploads", { "x-name": "check.txt" }, "there and back");
const back = await ask("GET", `/${JSON.parse(stored.text).key}`);
if (health.status !== 200 || back.text !== "there and back") {
  console.error(`the health report answers ${health.status}, the upload came back as ${JSON.stringify(back.text)}`);
  process.exit(1);
}
