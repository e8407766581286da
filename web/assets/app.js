// Keeps a server-rendered page fresh. Without this script everything works, by reloading.
import { follow } from "./log.js";
import { light } from "./graph.js";

const QUIET_MS = 250; // several changes within this time are one refresh
const AGING_MS = 5000; // time lines of unfinished runs grow without any event

const root = document.documentElement;
const beat = document.querySelector(".beat");
let pending = null;
let refreshing = false;
let again = false;

function soon() {
  pending ??= setTimeout(() => { pending = null; refresh(); }, QUIET_MS);
}

/** Fetches the page's live parts and swaps those that differ. */
async function refresh(url = location.href) {
  if (refreshing) { again = true; return; }
  refreshing = true;
  try {
    const address = new URL(url, location.href);
    address.searchParams.set("fragment", "live");
    const answer = await fetch(address, { headers: { accept: "text/html" } });
    if (answer.ok) swap(await answer.text());
  } catch { /* the next event or reconnect tries again */ } finally {
    refreshing = false;
    if (again) { again = false; soon(); }
  }
}

function swap(html) {
  const fresh = new DOMParser().parseFromString(html, "text/html");
  for (const part of fresh.querySelectorAll("[data-live][id]")) {
    const old = document.getElementById(part.id);
    if (!old) continue;
    // Do not pull a form away from someone who is using it.
    if (old.contains(document.activeElement) && document.activeElement.closest("form, details[open]")) continue;
    if (old.dataset.html === part.innerHTML) continue;
    keep(old, part, () => old.replaceChildren(...part.childNodes));
  }
  settle();
}

/** Carries scroll places, open details, focus and growing logs over a swap. */
function keep(old, part, change) {
  old.dataset.html = part.innerHTML;
  const scrolls = [...old.querySelectorAll("[data-keep]")].map((it) => [it.dataset.keep, it.scrollLeft, it.scrollTop]);
  const logs = new Map([...old.querySelectorAll("pre[data-log]")].map((it) => [it.dataset.log, it]));
  const focus = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  change();
  for (const pre of old.querySelectorAll("pre[data-log]")) {
    const known = logs.get(pre.dataset.log);
    if (known) pre.replaceWith(known);
  }
  for (const [name, left, top] of scrolls) {
    const it = old.querySelector(`[data-keep="${CSS.escape(name)}"]`);
    if (it) { it.scrollLeft = left; it.scrollTop = top; }
  }
  if (focus) old.querySelector(`a[href="${CSS.escape(focus)}"]`)?.focus({ preventScroll: true });
}

function settle() {
  tick();
  edges();
  for (const pre of document.querySelectorAll("pre[data-log]")) follow(pre);
}

/** Marks what can be scrolled further to the right, so that its edge fades. */
function edges() {
  for (const it of document.querySelectorAll(".canvas, .scroll")) {
    it.classList.toggle("more", it.scrollLeft + it.clientWidth < it.scrollWidth - 2);
  }
}

function span(ms) {
  const s = Math.floor(Math.abs(ms) / 1000), m = Math.floor(s / 60), h = Math.floor(m / 60), d = Math.floor(h / 24);
  const two = (a, x, b, y) => (b ? `${a}${x} ${b}${y}` : `${a}${x}`);
  if (s < 60) return `${s}s`;
  if (m < 60) return two(m, "m", s % 60, "s");
  if (h < 24) return two(h, "h", m % 60, "m");
  return two(d, "d", h % 24, "h");
}

/** Relative times tick by themselves. */
function tick() {
  const now = Date.now();
  for (const it of document.querySelectorAll("time[data-rel]")) {
    const ms = Date.parse(it.dateTime) - now;
    const text = Math.abs(ms) < 1000 ? "now" : ms > 0 ? `in ${span(ms)}` : `${span(ms)} ago`;
    if (it.textContent !== text) it.textContent = text;
  }
  for (const it of document.querySelectorAll("time[data-since]")) {
    it.textContent = span(now - Date.parse(it.dateTime));
  }
}

function listen() {
  const stream = new EventSource(root.dataset.live);
  let opened = false;
  stream.onopen = () => {
    beat?.classList.add("on");
    if (opened) soon();
    opened = true;
  };
  stream.onerror = () => beat?.classList.remove("on");
  for (const name of ["change", "reload"]) stream.addEventListener(name, soon);
  addEventListener("pagehide", () => stream.close());
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-swap]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0) {
    event.preventDefault();
    const address = link.getAttribute("href");
    history.pushState(null, "", address);
    refresh(address).then(() => {
      document.getElementById(new URL(address, location.href).hash.slice(1))?.scrollIntoView({ block: "nearest", behavior: "smooth" });
    });
  }
  const copied = event.target.closest("[data-copy]");
  if (copied) {
    navigator.clipboard?.writeText(copied.dataset.copy).then(() => {
      copied.classList.add("done");
      setTimeout(() => copied.classList.remove("done"), 1500);
    }, () => { /* the text can be marked by hand */ });
  }
  if (event.target.closest(".theme")) {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const now = root.dataset.theme ?? (dark ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* lasts for this page only */ }
  }
  for (const open of document.querySelectorAll("details.drop[open]")) {
    if (!open.contains(event.target)) open.open = false;
  }
});

/** Tells in a form for a resume what Step Functions will do; without this script a link leads there. */
async function plan(place) {
  const it = place.querySelector?.("[data-plan]");
  if (!it) return;
  const address = new URL(it.dataset.plan, location.href);
  const form = new FormData(it.closest("form"));
  for (const name of ["from", "version"]) if (form.get(name)) address.searchParams.set(name, form.get(name));
  it.dataset.asked = address;
  try {
    const answer = await (await fetch(address)).json();
    // Somebody chose something else meanwhile.
    if (it.dataset.asked === String(address)) it.textContent = answer.step_functions?.text ?? answer.detail ?? "";
  } catch { /* the link stays */ }
}

document.addEventListener("toggle", (event) => { if (event.target.open) plan(event.target); }, true);
document.addEventListener("change", (event) => { const form = event.target.closest("form"); if (form) plan(form); });

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") for (const it of document.querySelectorAll("details.drop[open]")) it.open = false;
  if (event.target.closest("input, textarea, select") || event.ctrlKey || event.metaKey || event.altKey) return;
  const places = { f: "/", r: "/runs", e: "/events" };
  if (listen.go && places[event.key]) location.href = places[event.key];
  listen.go = event.key === "g";
});

addEventListener("popstate", () => refresh());
addEventListener("scroll", edges, true);
addEventListener("resize", edges);
light();
settle();
setInterval(tick, 1000);
setInterval(() => { if (!document.hidden && document.querySelector("[data-aging]")) refresh(); }, AGING_MS);
if (root.dataset.live) listen();
