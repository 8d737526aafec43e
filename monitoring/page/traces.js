"use strict";
/* Traces: barks that are followed, hop by hop: as dots on the map, and as a list.
 *
 * A frame has the hops that services noted: [trace, service, time]. Nothing else is drawn: a hop without a
 * time does not appear, and a leg is drawn once both of its ends are known. Real legs take a millisecond
 * or so. Dots take LEG_MS for each, and the words beside them are the true times.
 *
 * Global: Traces. Uses: Elements, Words.
 */

const Traces = (() => {
  const { arrange, make, setText } = Elements;
  const { clockText, delayText, spanText } = Words;

  const MAX_FOLLOWED = 8; // the latest traces that are kept
  const MAX_HOPS = 12; // of one trace
  const MAX_DOTS = 24; // on the map at once
  const LEG_MS = 900;
  const HOLD_MS = 1500; // for so long a dot stays where it came to
  const FRESH_MS = 5000; // older hops are not drawn as if they happened now
  const SETTLED_MS = 2500; // after this, no frame is likely to bring an earlier hop
  const WAITS_MS = 2000; // an outbox hands on within a second, and a frame comes once a second

  // The place of a kind on a bark's way; kinds that are not listed lie between the two.
  const STAGES = { outbox: 0, inbox: 2 };

  const timeText = (at) => `${clockText(at)}.${String(Math.floor(at) % 1000).padStart(3, "0")}`;
  const legText = (from, to) => `${to.at < from.at ? "" : "+"}${delayText(to.at - from.at)}`.replace(" ", "\u00a0");

  /** The hop from which a bark came to this one: the latest of the stages before it. */
  const before = (bark, hop) => bark.hops.findLast(({ stage }) => stage < hop.stage);

  function words(bark) {
    const parts = bark.hops.map((hop) => {
      const from = before(bark, hop);
      return from ? `→\u00a0${legText(from, hop)}\u00a0${hop.name}` : `${hop.name} ${timeText(hop.at)}`;
    });
    const last = bark.hops[bark.hops.length - 1];
    return parts.join(" ") + (last.stage < STAGES.inbox ? " → not further yet" : "");
  }

  class Followed {
    /** `map`: a SystemMap. `section` is hidden while `list`, an ol in it, is empty. */
    constructor(map, section, list) {
      Object.assign(this, { map, section, list });
      this.barks = []; // {trace, serial, hops: [{name, stage, at, drawn, ends}], item}
      this.dots = [];
      this.waiting = new Map(); // name of an outbox -> its dot
    }

    add(frame, serial) {
      if (serial === 0) this.barks = [];
      const kinds = new Map(frame.services.map((row) => [row.name, row.kind]));
      for (const [trace, name, at] of frame.traces ?? []) {
        let bark = this.barks.find((one) => one.trace === trace);
        if (!bark) this.barks.push(bark = { trace, serial, hops: [], item: make("li") });
        if (bark.hops.length >= MAX_HOPS || bark.hops.some((hop) => hop.name === name)) continue;
        bark.hops.push({ name, stage: STAGES[kinds.get(name)] ?? 1, at, drawn: false, ends: 0 });
        bark.hops.sort((a, b) => a.stage - b.stage || a.at - b.at);
        bark.item.title = `trace ${trace}`;
      }
      this.barks = this.barks.slice(-MAX_FOLLOWED);
    }

    /** For the frame that is looked at; dots move only if it is `live`. */
    show(frame, serial, live) {
      arrange(this.list, this.barks.map(({ item }) => item).reverse());
      let some = false;
      for (const bark of this.barks) {
        bark.item.hidden = bark.serial > serial;
        some ||= !bark.item.hidden;
        setText(bark.item, words(bark));
        this.draw(bark, frame.at, live);
      }
      this.section.hidden = !some;
      this.showWaiting(frame.at);
    }

    draw(bark, now, live) {
      const begun = performance.now();
      for (const hop of bark.hops.filter(({ drawn }) => !drawn)) {
        const from = before(bark, hop);
        if (from && from.stage < hop.stage - 1 && now - hop.at < SETTLED_MS) continue; // one between may come yet
        hop.drawn = true;
        hop.ends = begun;
        if (!from || !live || now - hop.at > FRESH_MS) continue;
        const starts = Math.max(begun, from.ends);
        hop.ends = starts + LEG_MS;
        this.move(from, hop, starts - begun);
      }
    }

    move(from, to, delay) {
      const ends = [this.placeOf(from.name, true), this.placeOf(to.name, false)];
      if (!ends[0] || !ends[1]) return;
      const dot = this.dot(legText(from, to));
      const [begin, end] = ends.map(([x, y]) => `${x}px ${y}px`);
      const duration = LEG_MS + HOLD_MS;
      const steps = [{ translate: begin, opacity: 1 }, { translate: end, opacity: 1, offset: LEG_MS / duration }, { translate: end, opacity: 1 }];
      dot.animate(steps, { duration, delay }).addEventListener("finish", () => dot.remove());
      this.dots = this.dots.filter((one) => one.isConnected);
      this.dots.push(dot);
      for (const old of this.dots.splice(0, this.dots.length - MAX_DOTS)) old.remove();
    }

    /** Barks that no service behind their outbox has noted are a still dot there. */
    showWaiting(now) {
      const last = this.barks.filter(({ item }) => !item.hidden).map(({ hops }) => hops[hops.length - 1]);
      const waiting = Map.groupBy(last.filter((hop) => hop.stage === STAGES.outbox && now - hop.at > WAITS_MS), (hop) => hop.name);
      for (const [name, dot] of this.waiting) {
        if (waiting.has(name)) continue;
        dot.remove();
        this.waiting.delete(name);
      }
      for (const [name, hops] of waiting) {
        const place = this.placeOf(name, true);
        if (!this.waiting.has(name)) this.waiting.set(name, this.dot(""));
        const dot = this.waiting.get(name);
        dot.classList.toggle("waiting", place !== null);
        if (place) dot.style.translate = `${place[0]}px ${place[1]}px`;
        const many = hops.length > 1 ? `${hops.length} wait` : "waits";
        setText(dot.firstChild, `${many} ${spanText(now - Math.min(...hops.map(({ at }) => at)))}`);
      }
    }

    dot(text) {
      const dot = make("span", "bark", make("span", "", text));
      dot.setAttribute("aria-hidden", "true"); // the list has it in words
      this.map.root.append(dot);
      return dot;
    }

    /** The place on the map of a service's right or left edge, kept within its group if that is scrolled. */
    placeOf(name, right) {
      const item = this.map.cards.get(name)?.item;
      if (!item?.isConnected) return null;
      const card = item.getBoundingClientRect(), list = item.parentNode.getBoundingClientRect();
      const root = this.map.root.getBoundingClientRect();
      const y = Math.max(list.top, Math.min(list.bottom, card.bottom - 13));
      return [(right ? card.right : card.left) - root.left, y - root.top];
    }
  }

  return { Followed };
})();
