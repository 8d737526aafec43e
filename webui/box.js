"use strict";
/* The box to bark into: its text, the room left in it, and when it is sent.
 *
 * Global: Box. Uses: Elements, Aloud.
 */

const Box = (() => {
  const { $, onSubmit, setText } = Elements;

  const MAX_CHARACTERS = 280; // code points, as everywhere in Barker
  const FEW = 20;

  class Compose {
    /** `on`: changed(), after each letter; send(content), which returns whether it was taken over. */
    constructor(on) {
      this.on = on;
      this.able = true;
      this.field = $("text");
      onSubmit($("compose"), () => this.submit());
      this.field.addEventListener("keydown", (event) => {
        // While an input method composes, Enter chooses a word.
        if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
        event.preventDefault();
        this.submit();
      });
      this.field.addEventListener("input", () => { this.show(); on.changed(); });
    }

    get text() {
      return this.field.value;
    }

    set text(text) {
      this.field.value = text;
      this.show();
    }

    /** Show another user's box, enabled if that user can bark. */
    begin(user, able, draft) {
      this.able = able;
      setText($("label"), `Bark as ${user}`);
      this.text = draft;
    }

    /** Put a text above the present one, and the cursor behind it. */
    insert(content) {
      this.text = [content, this.text.trim()].filter(Boolean).join("\n\n");
      this.field.setSelectionRange(content.length, content.length);
    }

    get left() {
      return MAX_CHARACTERS - [...this.text.trim()].length;
    }

    show() {
      const { left } = this;
      const words = left < 0 ? `${-left} characters too many` : `${left} characters left`;
      setText($("left"), left < 0 ? `${-left} too many` : String(left));
      setText($("leftwords"), words);
      const level = left < 0 ? "over" : left <= FEW ? "low" : "fine";
      // Not with every letter: screen readers get one message when it gets tight, and one for too much.
      if (level !== "fine" && level !== $("left").dataset.level) Aloud.say(words);
      $("left").dataset.level = level;
      this.field.ariaInvalid = left < 0 ? "true" : null;
      $("send").disabled = left < 0 || left === MAX_CHARACTERS || !this.able;
    }

    submit() {
      // Half of a surrogate pair is no character, and the outbox would refuse it.
      const content = this.text.trim().replace(/\p{Surrogate}/gu, "\ufffd");
      if (!content || this.left < 0 || !this.able) return;
      const draft = this.text;
      this.text = "";
      if (!this.on.send(content)) this.text = draft;
    }
  }

  return { Compose };
})();
