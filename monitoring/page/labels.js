"use strict";
/* Labels: the words beside a chart, its legend and the exact values of one second.
 *
 * Global: Labels. Uses: Elements, Model, Words, Looks, Flags.
 */

const Labels = (() => {
  const { arrange, make, makeButton, setText } = Elements;
  const { CAPACITY } = Model;
  const { againText, clockText, countText, delayWords, rateText } = Words;
  const { swatch } = Looks;

  /** One button for each line; those of one service stay together. */
  function showLegend(root, chart) {
    const old = new Map([...root.children].map((group) => [group.dataset.service, group]));
    const lines = Map.groupBy(chart.lines, (l) => l.column.name);
    arrange(root, [...lines].map(([name, some]) => old.get(name) ?? legendGroup(name, some)));
  }

  function legendGroup(name, lines) {
    const alone = lines.length === 1;
    const group = make("div", alone ? "" : "pair", ...(alone ? [] : [make("span", "", name)]));
    group.dataset.service = name;
    for (const l of lines) {
      const button = makeButton("", swatch(name, l.dashed), alone ? name : l.field);
      button.dataset.key = l.key;
      button.setAttribute("aria-pressed", String(!l.hidden));
      if (!alone) button.setAttribute("aria-label", `${name} ${l.field}`);
      group.append(button);
    }
    return group;
  }

  function makeTip(chart) {
    const time = make("th");
    const fields = [...new Set(chart.lines.map((l) => l.field))];
    const head = make("tr", "", time, ...fields.map((field) => make("th", "", field)));
    const rows = [...Map.groupBy(chart.lines, (l) => l.column.name)].map(([name, lines]) => {
      const cells = lines.map(() => make("td"));
      return { lines, cells, element: make("tr", "", make("th", "", swatch(name, false), name), ...cells) };
    });
    const events = make("p", "happened");
    chart.root.querySelector(".tip").replaceChildren(make("table", "", head, ...rows.map((row) => row.element)), events);
    chart.tip = { time, rows, events, shown: null }; // shown: its frame, so as not to write it again
  }

  /** Show the values of one frame beside its place on the chart; none for -1. */
  function showTip(chart, model, pointed) {
    const tip = chart.root.querySelector(".tip");
    tip.hidden = pointed < 0;
    if (pointed < 0) return;
    const slot = pointed % CAPACITY;
    if (chart.tip.shown !== pointed) {
      chart.tip.shown = pointed;
      setText(chart.tip.time, clockText(model.times[slot]));
      for (const { lines, cells, element } of chart.tip.rows) {
        lines.forEach((l, i) => setText(cells[i], l.hidden ? "" : exactText(l, slot)));
        element.hidden = lines.every((l) => l.hidden || Number.isNaN(l.column[l.field][slot]));
      }
    }
    setText(chart.tip.events, Flags.wordsAt(model, pointed).join("\n"));
    const { zoom } = chart;
    const x = zoom * chart.x(model.times[slot]);
    const room = zoom * chart.width - tip.offsetWidth - 14;
    tip.style.top = `${zoom * chart.up + 4}px`;
    tip.style.translate = `${Math.round(x + 14 < room ? x + 14 : Math.max(0, x - tip.offsetWidth - 14))}px 0`;
  }

  function exactText({ column, field }, slot) {
    const value = column[field][slot];
    if (field === "delay") return delayWords(value, column.longest[slot], column.leftOut[slot]);
    if (field !== "depth") return rateText(value);
    const peak = column.peak[slot] > value ? ` (peak ${countText(column.peak[slot])})` : "";
    return countText(value) + peak + againText({ again: column.again[slot] });
  }

  /** In words, the value of a chart as a slider, for keys and screen readers. */
  function inWords(chart, model, pointed) {
    const slot = pointed % CAPACITY;
    const parts = chart.lines.filter((l) => !l.hidden && !Number.isNaN(l.column[l.field][slot]))
      .map((l) => `${l.column.name}${l.dashed === undefined ? "" : ` ${l.field}`} ${exactText(l, slot)}`);
    const events = Flags.wordsAt(model, pointed).map((words) => `. ${words}`);
    return `${clockText(model.times[slot])}: ${parts.join(", ") || "nothing known"}${events.join("")}`;
  }

  return { inWords, makeTip, showLegend, showTip };
})();
