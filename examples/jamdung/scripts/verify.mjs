// After a deploy: the API answers, and an upload comes back.
const api = process.env.API_URL ?? "http://api.jamdungjobs.com.localhost:8100";
const health = await fetch(`${api}/health`);
const stored = await fetch(`${api}/uploads`, { method: "POST", headers: { "x-name": "check.txt" }, body: "there and back" });
const { key } = await stored.json();
const back = await (await fetch(`${api}/${key}`)).text();
if (!health.ok || back !== "there and back") {
  console.error("the deploy does not answer as it should");
  process.exit(1);
}
