"use strict";
/* Still: while a person points at a part of the page or has the focus in it, nothing there may move.
 *
 * Changes wait meanwhile. A finger points only while it touches; a mouse, for as long as it rests.
 *
 * Global: Still. Uses: nothing.
 */

const Still = (() => {
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

  return { Zone };
})();
