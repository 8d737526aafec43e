"use strict";
/* Elements of a page: finding and making them, and changing only those that differ.
 *
 * Text only ever becomes the content of a text node. Both pages use this file.
 *
 * Global: Elements. Uses: nothing.
 */

const Elements = (() => {
  const $ = (id) => document.getElementById(id);

  /** An element with a class, text and children; undefined ones are left out. */
  function make(tag, className, ...content) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    element.append(...content.filter((part) => part !== undefined));
    return element;
  }

  /** A button that submits no form. */
  function makeButton(className, ...content) {
    const button = make("button", className, ...content);
    button.type = "button";
    return button;
  }

  /** A link that opens a page beside this one. */
  function makeOutside(className, url, text) {
    const link = make("a", className, text);
    Object.assign(link, { href: url, target: "_blank", rel: "noopener" });
    return link;
  }

  const SVG = "http://www.w3.org/2000/svg";

  function svg(tag, attributes, ...children) {
    const element = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  }

  /** Write only a changed text: a browser lays out again each element that is written, changed or not. */
  function setText(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  function setData(element, key, value) {
    if (element.dataset[key] !== value) element.dataset[key] = value;
  }

  /** Have a form call `act` instead of loading the page anew. */
  function onSubmit(form, act) {
    form.addEventListener("submit", (event) => { event.preventDefault(); act(); });
  }

  /** A reason of the wire as a sentence: a capital letter at the beginning, one full stop at the end. */
  const sentence = (reason) => `${reason.slice(0, 1).toUpperCase()}${reason.slice(1).replace(/[.\s]+$/, "")}.`;

  /** Make these elements the children of `parent`, in this order. An element that is in its place already
   *  is not touched: moving it would take the focus from it. */
  function arrange(parent, elements) {
    const wanted = new Set(elements);
    for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
    elements.forEach((element, i) => {
      if (parent.children[i] !== element) parent.insertBefore(element, parent.children[i] ?? null);
    });
  }

  /** The advice about a certificate, for an element: a sentence with a link, or nothing. */
  function showTrust(element, url) {
    if ((element.querySelector("a")?.href ?? "") === url) return;
    const link = makeOutside("", url, url);
    const words = ["If the browser does not trust its certificate yet: open ", link, ", accept it, and come back."];
    element.replaceChildren(...(url ? words : []));
  }

  /** While a person points at a part of the page or has the focus in it, nothing there may move: changes wait. A
   *  finger points only while it touches; a mouse, for as long as it rests. */
  class Zone {
    /** `freed` is called when the pointer or the focus leaves the part; the other may still be there. */
    constructor(part, freed) {
      this.part = part;
      this.pointed = false;
      part.addEventListener("pointerenter", () => { this.pointed = true; });
      part.addEventListener("pointerleave", () => { this.pointed = false; freed(); });
      part.addEventListener("focusout", freed);
    }

    /** A heading is focused only by the page itself, to announce a new view. */
    get held() {
      return this.pointed || this.part.querySelector(":focus-visible:not(h1)") !== null;
    }
  }

  return { $, Zone, arrange, make, makeButton, makeOutside, onSubmit, sentence, setData, setText, showTrust, svg };
})();
