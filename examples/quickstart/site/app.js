// Harbour log: the page. No framework; what comes from people only ever becomes text.

const $ = (id) => document.getElementById(id);

const make = (tag, properties, ...children) => {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children.filter((child) => child !== null));
  return node;
};

// ---------- asking ----------

const ask = async (path, options) => {
  let response = null;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The harbour does not answer. Try again in a moment.");
  }
  if (response.status === 204) {
    return null;
  }
  const body = await response.json().catch(() => null);
  if (!response.ok) {
    throw new Error(sentence(body?.error ?? `The harbour answered ${response.status}.`));
  }
  return body;
};

const sentence = (text) => {
  const end = text.endsWith(".") || text.endsWith("?") ? "" : ".";
  return text[0].toUpperCase() + text.slice(1) + end;
};

const send = (path, method, content) => ask(path, {
  method,
  headers: { "content-type": "application/json" },
  body: JSON.stringify(content),
});

// ---------- who answers ----------

let current = null;

// the golden angle keeps the colours of different releases apart
const hue = (release) => {
  const number = Number.parseInt(release.slice(0, 6), 16);
  return Number.isNaN(number) ? 200 : Math.round((number * 137.508) % 360);
};

const paint = (node, release) => node.style.setProperty("--hue", hue(release));

const meet = (who) => {
  if (current !== null && current.release !== who.release && who.announce) {
    toast(`A new release answers: ${who.release}`);
  }
  current = who;
  if (who.harbour) {
    $("harbour").textContent = who.harbour;
  }
  $("release").textContent = who.release;
  $("version").textContent = who.version ? `, version ${who.version}` : "";
  $("instance").textContent = who.instance;
  paint($("swatch"), who.release);
};

let toastTimer = 0;
const toast = (text) => {
  $("toast").textContent = text;
  $("toast").hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { $("toast").hidden = true; }, 6000);
};

// ---------- the log ----------

const entries = new Map();
let more = false;

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const dayName = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });

const day = (at) => {
  const date = new Date(at);
  const today = new Date();
  const yesterday = new Date();
  yesterday.setDate(today.getDate() - 1);
  if (date.toDateString() === today.toDateString()) {
    return "Today";
  }
  return date.toDateString() === yesterday.toDateString() ? "Yesterday" : dayName.format(date);
};

const bytes = (size) => {
  if (size < 1000) {
    return `${size} bytes`;
  }
  return size < 1e6 ? `${Math.round(size / 1e3)} kB` : `${(size / 1e6).toFixed(1)} MB`;
};

const isPicture = (file) => file.media.startsWith("image/");

const attachment = (file) => {
  const href = `/api/files/${file.id}`;
  const link = make("a", { className: "attached", href, download: file.name }, `${file.name} (${bytes(file.size)})`);
  if (!isPicture(file)) {
    return link;
  }
  const picture = make("img", { src: href, alt: file.name, loading: "lazy" });
  const figure = make("figure", {}, make("a", { href, target: "_blank", rel: "noopener" }, picture));
  // a name says it is a picture, the content may not be one
  picture.addEventListener("error", () => figure.replaceWith(link));
  return figure;
};

const kindNames = { arrival: "Arrival", departure: "Departure", note: "Note" };

const entryNode = (entry) => {
  const time = make("time", { dateTime: new Date(entry.at).toISOString() }, clock.format(entry.at));
  const what = make("div", { className: "what" }, make("span", { className: `kind ${entry.kind}` }, kindNames[entry.kind]));
  if (entry.vessel) {
    const word = entry.kind === "departure" ? "to" : "from";
    const place = entry.port ? make("small", {}, ` ${word} ${entry.port}`) : null;
    what.append(make("h3", {}, entry.vessel, place));
  }
  if (entry.note) {
    what.append(make("p", { className: "text" }, entry.note));
  }
  if (entry.file) {
    what.append(attachment(entry.file));
  }
  const node = make("article", { className: entry.vessel ? "entry" : "entry note-only" }, time, what);
  node.dataset.id = entry.id;
  if (token()) {
    const button = make("button", { className: "small remove", type: "button" }, "Remove");
    button.setAttribute("aria-label", `Remove the entry ${entry.vessel || entry.note}`);
    button.addEventListener("click", () => remove(entry.id));
    node.append(button);
  }
  return node;
};

const newestFirst = (a, b) => b.at - a.at || b.id - a.id;

const draw = (fresh) => {
  const nodes = [];
  let last = "";
  for (const entry of [...entries.values()].sort(newestFirst)) {
    const name = day(entry.at);
    if (name !== last) {
      nodes.push(make("h2", { className: "day" }, name));
      last = name;
    }
    const node = entryNode(entry);
    node.classList.toggle("new", entry.id === fresh);
    nodes.push(node);
  }
  $("entries").replaceChildren(...nodes);
  $("empty").hidden = entries.size > 0;
  $("older").hidden = !more;
};

const load = async () => {
  const page = await ask("/api/entries");
  entries.clear();
  page.entries.forEach((entry) => entries.set(entry.id, entry));
  more = page.more;
  draw(0);
  await loadDrafts();
};

const loadOlder = async () => {
  const oldest = [...entries.values()].sort(newestFirst).pop();
  const page = await ask(`/api/entries?before=${oldest.id}`);
  page.entries.forEach((entry) => entries.set(entry.id, entry));
  more = page.more;
  draw(0);
};

const remove = async (id) => {
  try {
    await ask(`/api/entries/${id}`, { method: "DELETE", headers: { authorization: `Bearer ${token()}` } });
    entries.delete(id);
    draw(0);
  } catch (error) {
    toast(error.message);
  }
};

// ---------- drafts ----------

let editing = null;

const loadDrafts = async () => {
  const page = await ask("/api/entries?drafts=true");
  const rows = page.entries.map((entry) => {
    const open = make("button", { className: "small", type: "button" }, "Open");
    open.addEventListener("click", () => edit(entry));
    const title = make("span", {}, entry.vessel || entry.note || "Without a name");
    return make("li", {}, title, open);
  });
  $("draft-list").replaceChildren(...rows);
  $("drafts").hidden = rows.length === 0;
};

const edit = (entry) => {
  editing = entry.id;
  const form = $("write");
  form.elements.kind.value = entry.kind;
  form.elements.vessel.value = entry.vessel;
  form.elements.port.value = entry.port;
  form.elements.note.value = entry.note;
  $("write-title").textContent = "Finish the draft";
  showKind();
  form.elements.note.focus();
};

// ---------- writing ----------

const largest = 20 * 1024 * 1024;

const showKind = () => {
  const kind = $("write").elements.kind.value;
  $("ship-fields").hidden = kind === "note";
  $("port-label").textContent = kind === "departure" ? "To" : "From";
};

const showFile = () => {
  const file = $("file").files[0];
  const fits = file && file.size <= largest;
  if (file && !fits) {
    $("file").value = "";
  }
  $("wrong").textContent = file && !fits ? `${file.name} is too large: at most 20 MB are taken.` : "";
  $("wrong").hidden = $("wrong").textContent === "";
  $("file-name").textContent = fits ? `${file.name} (${bytes(file.size)})` : "Add a picture or a file";
};

// fetch cannot tell how far an upload is
const upload = (file, entry) => new Promise((done, failed) => {
  const request = new XMLHttpRequest();
  request.open("POST", `/api/files?name=${encodeURIComponent(file.name)}&entry=${entry}`);
  request.upload.addEventListener("progress", (event) => { $("progress").value = event.loaded / event.total; });
  request.addEventListener("load", () => {
    if (request.status < 300) {
      done();
      return;
    }
    let reason = `The upload was answered with ${request.status}`;
    try {
      reason = JSON.parse(request.responseText).error;
    } catch {
      // not from the application: the status has to do
    }
    failed(new Error(sentence(reason)));
  });
  request.addEventListener("error", () => failed(new Error("The upload broke off. Try again.")));
  request.send(file);
});

const write = async (draft) => {
  const form = $("write");
  const kind = form.elements.kind.value;
  const ship = kind === "note" ? { vessel: "", port: "" } : { vessel: form.elements.vessel.value, port: form.elements.port.value };
  const content = { kind, ...ship, note: form.elements.note.value, draft };
  const file = $("file").files[0];
  const buttons = form.querySelectorAll("button");
  let wrong = "";
  $("wrong").hidden = true;
  buttons.forEach((button) => { button.disabled = true; });
  try {
    const path = editing === null ? "/api/entries" : `/api/entries/${editing}`;
    const entry = await send(path, editing === null ? "POST" : "PUT", content);
    // from here on the entry is written: trying again must not write it twice
    form.reset();
    editing = null;
    $("write-title").textContent = "Write an entry";
    if (file) {
      $("progress").hidden = false;
      await upload(file, entry.id);
    }
    if (draft) {
      await loadDrafts();
    }
  } catch (error) {
    wrong = error.message;
  }
  $("progress").hidden = true;
  $("progress").value = 0;
  buttons.forEach((button) => { button.disabled = false; });
  showKind();
  showFile();
  $("wrong").textContent = wrong;
  $("wrong").hidden = wrong === "";
};

// ---------- the job's summary ----------

const showSummary = (summary) => {
  if (summary === null) {
    return;
  }
  const numbers = [["Arrivals", summary.arrivals], ["Departures", summary.departures], ["Files", summary.files]];
  $("sum").replaceChildren(...numbers.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, String(value)))));
  const swept = summary.swept === 1 ? "1 forgotten draft" : `${summary.swept} forgotten drafts`;
  const tail = summary.swept === 0 ? "." : `, and tidied away ${swept}.`;
  $("sum-when").textContent = `The job tidy counted at ${clock.format(summary.at)}${tail}`;
};

// ---------- news ----------

let wait = 250;

const listen = () => {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}/api/live`);
  socket.addEventListener("open", () => {
    wait = 250;
    state("open", "Live");
    refresh();
  });
  socket.addEventListener("message", (message) => hear(JSON.parse(message.data)));
  socket.addEventListener("close", () => {
    state("waiting", "Reconnecting");
    // spread out, so that not every page comes back in the same moment
    setTimeout(listen, wait * (0.5 + Math.random()));
    wait = Math.min(wait * 2, 8000);
  });
};

const hear = (news) => {
  if (news.type === "hello") {
    meet({ ...news.who, harbour: news.harbour, announce: true });
  } else if (news.type === "entry") {
    entries.set(news.entry.id, news.entry);
    draw(news.entry.id);
  } else if (news.type === "summary") {
    showSummary(news.summary);
  } else {
    refresh();
  }
};

const state = (name, text) => {
  $("live").dataset.state = name;
  $("live-text").textContent = text;
};

const refresh = async () => {
  try {
    await load();
    showSummary(await ask("/api/summary"));
    if (view === "files") {
      await loadFiles();
    }
  } catch (error) {
    toast(error.message);
  }
};

// ---------- files ----------

const loadFiles = async () => {
  const files = await ask("/api/files");
  const rows = files.map((file) => {
    const href = `/api/files/${file.id}`;
    const extension = file.name.includes(".") ? file.name.split(".").pop().slice(0, 5) : "file";
    const inside = isPicture(file) ? make("img", { src: href, alt: "", loading: "lazy" }) : make("span", {}, extension);
    inside.addEventListener("error", () => inside.replaceWith(extension));
    const thumb = make("div", { className: "thumb" }, inside);
    const about = `${bytes(file.size)}, ${day(file.at)} ${clock.format(file.at)}`;
    const target = isPicture(file) ? { href, target: "_blank", rel: "noopener" } : { href, download: file.name };
    return make("li", {}, make("a", target, thumb, make("p", { title: file.name }, file.name), make("p", {}, about)));
  });
  $("files").replaceChildren(...rows);
  $("no-files").hidden = rows.length > 0;
};

// ---------- the office ----------

const answers = [];
let looks = 0;

const facts = (node, pairs) => {
  const rows = pairs.flatMap(([name, value]) => [make("dt", {}, name), make("dd", { className: value.className ?? "" }, value.text ?? String(value))]);
  node.replaceChildren(...rows);
};

const duration = (seconds) => {
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  if (hours > 0) {
    return `${hours} h ${minutes} min`;
  }
  return minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
};

const look = async () => {
  const began = performance.now();
  try {
    const who = await ask("/api/who");
    answers.push({ release: who.release, took: performance.now() - began });
    meet({ ...who, announce: false });
    facts($("facts"), [["Release", who.release], ["Version", who.version], ["Environment", who.environment], ["Instance", who.instance], ["Up for", duration(who.uptime)]]);
    // not with every look: two questions a second would meet two instances in turn, and the bars only one of them
    if (looks % 5 === 0) {
      await showHealth();
    }
    looks += 1;
  } catch {
    answers.push({ release: null, took: 0 });
  }
  answers.splice(0, answers.length - 60);
  drawStrip();
};

const showHealth = async () => {
  const response = await fetch("/api/health");
  const report = await response.json();
  const memory = report.checks.memory;
  const database = report.checks.database;
  facts($("health"), [
    ["Status", { text: report.status, className: report.status }],
    ["Database", { text: `${database.status}, ${database.responseTime} ms`, className: database.status }],
    ["Memory", `${memory.used} of ${memory.total} MB (${memory.percentage} %)`],
  ]);
};

const drawStrip = () => {
  const bars = answers.map((answer) => {
    const bar = make("i", { className: answer.release === null ? "lost" : "good" });
    if (answer.release !== null) {
      paint(bar, answer.release);
      bar.title = `${answer.release}, ${answer.took.toFixed(0)} ms`;
      // a slower answer is a lower bar
      bar.style.height = `${Math.max(25, 100 - answer.took)}%`;
    }
    return bar;
  });
  const empty = Array.from({ length: 60 - bars.length }, () => make("i", {}));
  $("strip").replaceChildren(...empty, ...bars);
  const counts = new Map();
  answers.forEach((answer) => counts.set(answer.release, (counts.get(answer.release) ?? 0) + 1));
  const rows = [...counts].map(([release, count]) => {
    const swatch = make("span", { className: "swatch" });
    paint(swatch, release ?? "");
    return make("li", {}, swatch, `${release ?? "no answer"}: ${count}`);
  });
  $("legend").replaceChildren(...rows);
  $("strip").setAttribute("aria-label", [...counts].map(([release, count]) => `${release ?? "no answer"}: ${count}`).join(", "));
};

const token = () => sessionStorage.getItem("token");

// ---------- pages ----------

const views = { "/": "log", "/files": "files", "/office": "office" };
const titles = { log: "Harbour log", files: "Files, Harbour log", office: "Office, Harbour log", lost: "Off the chart, Harbour log" };
let view = "";
let looking = 0;

const go = async (path, focus) => {
  view = views[path] ?? "lost";
  document.title = titles[view];
  document.querySelectorAll(".view").forEach((section) => { section.hidden = section.id !== `view-${view}`; });
  document.querySelectorAll(".top nav a").forEach((link) => {
    if (link.dataset.view === view) {
      link.setAttribute("aria-current", "page");
    } else {
      link.removeAttribute("aria-current");
    }
  });
  clearInterval(looking);
  if (focus) {
    $("main").focus({ preventScroll: true });
  }
  if (view === "files") {
    await loadFiles().catch((error) => toast(error.message));
  }
  if (view === "office") {
    looks = 0;
    drawStrip();
    await look();
    clearInterval(looking);
    looking = setInterval(look, 1000);
  }
};

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-view]");
  if (link === null || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) {
    return;
  }
  event.preventDefault();
  history.pushState(null, "", link.getAttribute("href"));
  go(location.pathname, true);
});
addEventListener("popstate", () => { go(location.pathname, true); });

$("write").addEventListener("submit", (event) => {
  event.preventDefault();
  write(false);
});
$("write").addEventListener("change", showKind);
$("save-draft").addEventListener("click", () => { write(true); });
$("file").addEventListener("change", showFile);
$("older").addEventListener("click", () => { loadOlder().catch((error) => toast(error.message)); });
["dragenter", "dragover"].forEach((name) => $("drop").addEventListener(name, () => $("drop").classList.add("over")));
["dragleave", "drop"].forEach((name) => $("drop").addEventListener(name, () => $("drop").classList.remove("over")));
$("admin").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", $("token").value.trim());
  $("token").value = "";
  draw(0);
  toast(token() ? "Entries in the log can be removed now." : "The token is forgotten.");
});

go(location.pathname, false);
listen();
