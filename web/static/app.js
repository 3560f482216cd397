// Reading works without this file: it adds live numbers and keys.
"use strict";

// A part of a page that is live: <div data-live="ADDRESS of events"> holds elements with ids; a
// message has the id and the new inner HTML, which the server has escaped. A page that nobody sees
// is not kept live: browsers open few connections to one server. A part in which the keyboard is
// changes when the keyboard leaves it.
for (const live of document.querySelectorAll("[data-live]")) {
  const late = new Map();
  let events = null;
  const show = ({ data }) => {
    const { id, html } = JSON.parse(data);
    const part = document.getElementById(id);
    if (!part || !live.contains(part)) return;
    if (part.contains(document.activeElement)) late.set(part, html);
    else part.innerHTML = html;
  };
  const follow = () => {
    if (events) events.close();
    events = document.hidden ? null : new EventSource(live.dataset.live);
    if (events) events.onmessage = show;
  };
  live.addEventListener("focusout", ({ target, relatedTarget }) => {
    for (const [part, html] of late) {
      if (!part.contains(target) || part.contains(relatedTarget)) continue;
      late.delete(part);
      setTimeout(() => { part.innerHTML = html; });
    }
  });
  addEventListener("visibilitychange", follow);
  addEventListener("pageshow", follow);
  addEventListener("pagehide", () => events && events.close());
  follow();
}

// The heat map of a run: hovering says a cell's numbers, a click opens its neurons, and so do the
// arrow keys with Enter. Numbers come in one answer, which is asked for when a map is first touched.
const heatNumbers = new WeakMap();

function heatCell(map, x, y) {
  const layers = map.dataset.layers.split(" ").map(Number);
  const columns = Math.round((map.viewBox.baseVal.width - 32) / 14);
  const row = Math.min(Math.max(y, 0), layers.length - 1);
  const block = Math.min(Math.max(x, 0), columns - 1);
  const start = block * Number(map.dataset.size);
  return { x: block, y: row, layer: layers[row], start, stop: start + Number(map.dataset.size) };
}

function heatAt(map, event) {
  const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(map.getScreenCTM().inverse());
  return x < 0 ? null : heatCell(map, Math.floor(x / 14), Math.floor(y / 12));
}

async function heatShow(map, cell) {
  const cursor = map.querySelector(".cursor");
  cursor.setAttribute("x", cell.x);
  cursor.setAttribute("y", cell.y);
  cursor.setAttribute("visibility", "visible");
  if (!heatNumbers.has(map)) {
    heatNumbers.set(map, fetch(`${map.dataset.heat}/heat.json`).then((answer) => answer.json()));
  }
  const { cells } = await heatNumbers.get(map);
  const found = cells.find(([layer, block]) => layer === cell.layer && block === cell.x);
  const [, , n, done, failed, score, gap, usd] = found || [];
  const number = (value) => (value == null ? "-" : value.toFixed(3));
  document.querySelector(".heat-says").textContent =
    `Layer ${cell.layer}, neurons ${cell.start} to ${cell.stop - 1}: ` + (found
      ? `mean score ${number(score)}, ${done} of ${n} done, ${failed} failed, ` +
        `gap to lookup ${number(gap)}, $${usd ? usd.toPrecision(2) : 0} a neuron`
      : "none is in this run");
}

function heatOpen(map, cell) {
  location.href = `${map.dataset.heat}/neurons?layer=${cell.layer}&start=${cell.start}&stop=${cell.stop}`;
}

for (const [kind, act] of [["pointermove", heatShow], ["click", heatOpen]]) {
  addEventListener(kind, (event) => {
    const map = event.target.closest?.("[data-heat]");
    const cell = map && heatAt(map, event);
    if (cell) act(map, cell);
  });
}

addEventListener("keydown", (event) => {
  const map = event.target.closest?.("[data-heat]");
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], Enter: [0, 0] };
  const step = map && steps[event.key];
  if (!step) return;
  event.preventDefault();
  const cursor = map.querySelector(".cursor");
  const isNew = cursor.getAttribute("visibility") === "hidden";
  const [x, y] = ["x", "y"].map((name) => Number(cursor.getAttribute(name)));
  const cell = heatCell(map, isNew ? 0 : x + step[0], isNew ? 0 : y + step[1]);
  if (event.key === "Enter" && !isNew) heatOpen(map, cell);
  else heatShow(map, cell);
});

// <a data-key="j"> is followed when that key is pressed outside a field.
addEventListener("keydown", (event) => {
  const inField = event.target.closest("input, textarea, select, [contenteditable]");
  if (inField || event.ctrlKey || event.altKey || event.metaKey) return;
  const link = document.querySelector(`a[data-key="${CSS.escape(event.key)}"]`);
  if (link) link.click();
});
