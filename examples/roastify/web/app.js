const answer = await fetch("/api/roasts");
const things = await answer.json();
for (const thing of things.jobs ?? things) {
  const line = document.createElement("li");
  line.textContent = thing.title ?? thing.text;
  document.querySelector("#list").append(line);
}
