// Reading works without this file: it shows at once what the title of a token says, with the
// probabilities of the numbers 0 to 10 as bars, and lets arrow keys walk through the tokens.
"use strict";

const svgName = "http://www.w3.org/2000/svg";
const records = document.querySelector("[data-scored]");
if (records) {
  const panel = document.createElement("aside");
  panel.className = "reading";
  panel.hidden = true;
  panel.setAttribute("aria-live", "polite");
  document.body.append(panel);

  const bars = (numbers) => {
    const svg = document.createElementNS(svgName, "svg");
    svg.setAttribute("viewBox", "0 0 132 52");
    svg.setAttribute("aria-hidden", "true");
    const percents = new Map(numbers.split(" ").map((pair) => pair.split(":").map(Number)));
    for (let number = 0; number <= 10; number += 1) {
      const bar = document.createElementNS(svgName, "rect");
      const height = (36 * (percents.get(number) ?? 0)) / 100;
      for (const [name, value] of Object.entries({ x: number * 12 + 1, y: 38 - height, width: 10, height }))
        bar.setAttribute(name, value);
      const label = document.createElementNS(svgName, "text");
      label.setAttribute("x", number * 12 + 6);
      label.setAttribute("y", 50);
      label.setAttribute("text-anchor", "middle");
      label.textContent = number;
      svg.append(bar, label);
    }
    return svg;
  };

  const show = (token) => {
    const said = document.createElement("p");
    said.textContent = token.dataset.says;
    panel.replaceChildren(said);
    if (token.dataset.p) {
      panel.append(bars(token.dataset.p));
      const percents = document.createElement("small");
      percents.textContent = token.dataset.p.replace(/(\d+):(\d+)/g, "$1: $2 %");
      panel.append(percents);
    }
    panel.hidden = false;
  };

  for (const tokens of records.querySelectorAll(".tokens")) {
    const all = [...tokens.querySelectorAll(".tok")];
    // The panel says it at once: the title of the browser would stand in its way.
    for (const token of all) {
      token.dataset.says = `${token.textContent} — ${token.title}`;
      token.removeAttribute("title");
      token.tabIndex = -1;
    }
    if (all.length) all[0].tabIndex = 0;
    tokens.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const next = all[all.indexOf(document.activeElement) + step];
      if (!step || !next) return;
      event.preventDefault();
      for (const token of all) token.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
  }
  const tokenOf = (event) => event.target.closest(".tok");
  records.addEventListener("mouseover", (event) => tokenOf(event) && show(tokenOf(event)));
  records.addEventListener("focusin", (event) => tokenOf(event) && show(tokenOf(event)));
  records.addEventListener("mouseleave", () => { panel.hidden = true; });
  records.addEventListener("focusout", () => { panel.hidden = true; });
  addEventListener("keydown", (event) => { if (event.key === "Escape") panel.hidden = true; });
}
