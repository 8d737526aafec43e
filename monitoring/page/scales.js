"use strict";

/* Scales: the place of a value on a vertical axis, and the values that are written beside it.
 *
 * Global: Scales. Uses: nothing.
 */

const Scales = (() => {
  const EASE_MS = 140;

  /** Rises and falls smoothly, and is exact at rest. */
  class Eased {
    constructor() {
      this.value = null;
      this.moving = false;
      this.then = 0;
    }

    towards(target, now, still) {
      const part = 1 - Math.exp(-(now - this.then) / EASE_MS);
      this.then = now;
      this.moving = !(this.value === null || still || Math.abs(target - this.value) < 0.004 * target);
      this.value = this.moving ? this.value + part * (target - this.value) : target;
      return this.value;
    }
  }

  class LinearScale {
    constructor() {
      this.top = 10;
      this.eased = new Eased();
    }

    fit(most, now, still) {
      const rough = Math.max(8, 1.12 * most) / 4;
      const power = 10 ** Math.floor(Math.log10(rough));
      this.step = power * [1, 2, 2.5, 5, 10].find((n) => n * power >= rough && (n * power) % 1 === 0);
      this.top = this.eased.towards(4 * this.step, now, still);
    }

    /** 0 at the bottom, 1 at the top. */
    part(value) {
      return value / this.top;
    }

    ticks() {
      const ticks = [];
      for (let value = 0; value <= 1.001 * this.top; value += this.step) ticks.push([value, true]);
      return ticks;
    }
  }

  /** Powers of ten from 0.1 on, the smallest rate that ten seconds can show; and 0, which has no
   *  logarithm, half a power below. */
  class LogScale {
    constructor() {
      this.top = 2;
      this.eased = new Eased();
    }

    fit(most, now, still) {
      this.top = this.eased.towards(Math.max(1, Math.ceil(Math.log10(Math.max(1, 1.15 * most)))), now, still);
      this.zero = 0.5 / (this.top + 1.5);
    }

    part(value) {
      if (value < 0.1) return 10 * value * this.zero;
      return this.zero + ((Math.log10(value) + 1) / (this.top + 1)) * (1 - this.zero);
    }

    ticks() {
      const ticks = [[0, true]];
      for (let power = -1; power <= this.top + 0.01; power += 1) {
        ticks.push([10 ** power, true]);
        for (let n = 2; n < 10 && power < this.top; n += 1) ticks.push([n * 10 ** power, false]);
      }
      return ticks;
    }
  }

  /** Milliseconds, up to minutes. */
  class DelayScale extends LogScale {
    text(value) {
      return value < 1000 ? String(value) : `${value / 1000} s`;
    }
  }

  return { DelayScale, LinearScale, LogScale };
})();
