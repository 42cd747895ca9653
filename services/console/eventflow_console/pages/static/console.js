// Keeps an open page up to date. Without this script every page works, and shows the state at its load.

const AGO_MS = 5_000;

const main = document.querySelector("main");
const state = document.getElementById("live-state");
const address = main.dataset.live;

/** Return the parts of a page that can change, by their names. */
function partsOf(root) {
  return new Map([...root.querySelectorAll("[data-part]")].map((part) => [part.dataset.part, part]));
}

/** Return the content of a part without distances from now, which differ every second. */
function contentOf(part) {
  const copy = part.cloneNode(true);
  for (const ago of copy.querySelectorAll(".ago")) ago.textContent = "";
  return copy.innerHTML;
}

const shown = new Map([...partsOf(main)].map(([name, part]) => [name, contentOf(part)]));

/** Replace each part of the page that has changed, and keep the keyboard's place in it. */
function show(html) {
  const present = partsOf(main);
  for (const [name, part] of partsOf(new DOMParser().parseFromString(html, "text/html"))) {
    const old = present.get(name);
    const content = contentOf(part);
    if (!old || shown.get(name) === content || isInUse(old)) continue;
    const focused = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    announce(old, part);
    old.replaceWith(part);
    shown.set(name, content);
    if (focused) part.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  }
}

/** Whether a person reads values in a part, which a replacement would take away. */
function isInUse(part) {
  const selection = getSelection();
  const isSelected = selection !== null && !selection.isCollapsed && selection.containsNode(part, true);
  return isSelected || part.querySelector("details[open], i:hover") !== null;
}

/** Pass a new state to screen readers, and nothing else: numbers change every second. */
function announce(old, part) {
  const [before, after] = [old, part].map((each) => each.querySelector("[data-state]")?.textContent);
  if (state && after && before !== after) state.textContent = `Now: ${after}`;
}

let stream = null;
let isOver = false;

function listen() {
  stream = new EventSource(address);
  stream.addEventListener("now", (message) => {
    if (state?.dataset.stopped) {
      delete state.dataset.stopped;
      state.textContent = "";
    }
    show(message.data);
  });
  stream.addEventListener("end", () => {
    isOver = true;
    close();
  });
  stream.addEventListener("error", () => {
    if (!state || state.dataset.stopped) return;
    state.dataset.stopped = "yes";
    state.textContent = `Live values stopped at ${new Date().toISOString().slice(11, 19)} UTC. They continue by themselves.`;
  });
}

function close() {
  stream?.close();
  stream = null;
}

/** Fetch the page again for its slower parts, such as the chart. */
async function refresh() {
  if (document.hidden) return;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (answer.ok) show(await answer.text());
  } catch {
    // The stream reports a console that is away.
  }
}

function words(seconds) {
  for (const [unit, name] of [[86_400, "days"], [3_600, "h"], [60, "min"]]) {
    if (seconds >= 2 * unit) return `${Math.round(seconds / unit)} ${name}`;
  }
  return `${seconds} s`;
}

function tick() {
  for (const time of document.querySelectorAll("time[datetime]")) {
    const ago = time.querySelector(".ago");
    const seconds = (Date.now() - Date.parse(time.dateTime)) / 1000;
    if (!ago || Number.isNaN(seconds)) continue;
    ago.textContent = Math.abs(seconds) < 1 ? "now" : seconds > 0 ? `${words(Math.floor(seconds))} ago` : `in ${words(Math.ceil(-seconds))}`;
  }
}

setInterval(tick, AGO_MS);
if (address) {
  listen();
  // A browser has few connections to one host, and a tab in the background needs none.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close();
    else if (!stream && !isOver) listen();
  });
}
if (main.dataset.refresh) setInterval(refresh, 1000 * main.dataset.refresh);
