// After a deploy: what a visitor does first. Asked at the edge, which knows the name before the world does.
import { request } from "node:http";

const edge = process.env.SLIPWAY_EDGE ?? "http://127.0.0.1:8500";
const ask = (path) =>
  new Promise((resolve, reject) => {
    const asked = request(edge, { path, headers: { host: "roastify.online" } }, (answer) => resolve(answer.resume().statusCode));
    asked.on("error", reject).end();
  });

const [page, roasts] = await Promise.all([ask("/"), ask("/api/roasts")]);
if (page !== 200 || roasts !== 200) {
  console.error(`the page answers ${page}, the API ${roasts}`);
  process.exit(1);
}
