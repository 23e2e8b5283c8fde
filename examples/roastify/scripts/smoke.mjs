// After a deploy: what a visitor does first.
const site = process.env.APP_URL ?? "http://roastify.online.localhost:8500";
const [page, roasts] = await Promise.all([fetch(`${site}/`), fetch(`${site}/api/roasts`)]);
if (!page.ok || !roasts.ok) {
  console.error(`the page answers ${page.status}, the API ${roasts.status}`);
  process.exit(1);
}
