'use strict';
// The page is whole without this: it adds the choice of language, reading off curves, and small comforts.

const root = document.documentElement;
// A browser may refuse to keep anything for a page from disk: then nothing is kept.
const keep = (key, value) => { try { localStorage.setItem(key, value); } catch { /* as it is */ } };
const kept = (key) => { try { return localStorage.getItem(key); } catch { return null; } };
const here = location.pathname; // what is kept for this page alone

function speak(language) {
  root.dataset.language = root.lang = language;
  for (const button of document.querySelectorAll('[data-speak]')) {
    button.setAttribute('aria-pressed', button.dataset.speak === language);
  }
}
const chosen = kept('jaxlab-language');
if (chosen === 'en' || chosen === 'zh') speak(chosen);

document.addEventListener('DOMContentLoaded', () => {
  for (const element of document.querySelectorAll('[data-script]')) element.hidden = false;
  speak(root.dataset.language);
  for (const button of document.querySelectorAll('[data-speak]')) {
    button.addEventListener('click', () => { keep('jaxlab-language', button.dataset.speak); speak(button.dataset.speak); });
  }
  document.querySelectorAll('[data-copy]').forEach(copies);
  document.querySelectorAll('.slider').forEach(slides);
  document.querySelectorAll('[data-group]').forEach(hides);
  document.querySelectorAll('svg[data-x]').forEach(reads);
  if (root.dataset.reload) reloads(Number(root.dataset.reload));
});

function copies(button) {
  const text = button.parentElement.querySelector('pre');
  button.addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(text.textContent);
    } catch { // no clipboard for pages from disk: select, and let the old command copy
      getSelection().selectAllChildren(text);
      document.execCommand('copy');
    }
    button.setAttribute('aria-pressed', 'true');
    setTimeout(() => button.setAttribute('aria-pressed', 'false'), 1200);
  });
}

// Samples: one at a time, chosen by a slider. The choice survives a reload.
function slides(slider) {
  const items = [...slider.nextElementSibling.children];
  const input = slider.querySelector('input');
  const place = slider.querySelector('output');
  const show = () => {
    items.forEach((item, n) => { item.hidden = n !== Number(input.value); });
    place.textContent = items[input.value].dataset.step;
  };
  input.max = items.length - 1;
  const before = items.findIndex((item) => item.dataset.step === kept(`jaxlab-sample ${here}`));
  input.value = before < 0 ? items.length - 1 : before;
  input.addEventListener('input', () => {
    const last = Number(input.value) === items.length - 1; // who looks at the last one wants the last one later, too
    keep(`jaxlab-sample ${here}`, last ? '' : items[input.value].dataset.step);
    show();
  });
  slider.nextElementSibling.classList.add('one');
  show();
}

// A comparison: a run's name shows and hides its curves.
function hides(button) {
  button.addEventListener('click', () => {
    const shown = button.getAttribute('aria-pressed') === 'false';
    button.setAttribute('aria-pressed', shown);
    for (const curve of document.querySelectorAll(`svg .${button.dataset.group}`)) curve.style.display = shown ? '' : 'none';
  });
}

// The number under the pointer, read back off the drawn curve.
function reads(svg) {
  const figure = svg.closest('figure');
  const [x0, x1, left, right] = svg.dataset.x.split(' ').map(Number);
  const [y0, y1, bottom, top] = svg.dataset.y.split(' ').map(Number);
  const log = svg.dataset.log !== undefined;
  const curves = [...svg.querySelectorAll('g[data-read]')].map((group) => ({
    group,
    points: group.querySelector('path').getAttribute('d').match(/-?[\d.]+ -?[\d.]+/g).map((pair) => pair.split(' ').map(Number)),
  }));
  const line = document.createElementNS(svg.namespaceURI, 'line');
  line.setAttribute('y1', top);
  line.setAttribute('y2', bottom);
  line.style.stroke = 'var(--ink)';
  line.style.strokeWidth = 0.7;
  const note = Object.assign(document.createElement('output'), { className: 'reading' });
  const value = (y) => {
    const part = (bottom - y) / (bottom - top);
    return log ? y0 * (y1 / y0) ** part : y0 + part * (y1 - y0);
  };
  svg.addEventListener('pointermove', (event) => {
    const box = svg.getBoundingClientRect();
    const x = Math.min(Math.max((event.clientX - box.left) / box.width * svg.viewBox.baseVal.width, left), right);
    line.setAttribute('x1', x);
    line.setAttribute('x2', x);
    svg.append(line);
    const at = x0 + (x - left) / (right - left) * (x1 - x0);
    note.replaceChildren(x1 - x0 > 1 ? Math.round(at).toLocaleString('en') : at.toFixed(2)); // steps, or rates
    for (const { group, points } of curves) {
      if (group.style.display === 'none' || x < points[0][0] - 6 || x > points.at(-1)[0] + 6) continue;
      const nearest = points.reduce((best, point) => (Math.abs(point[0] - x) < Math.abs(best[0] - x) ? point : best));
      const swatch = document.createElement('span');
      swatch.style.color = `var(--${group.dataset.read})`;
      swatch.textContent = ` \u25cf ${Number(value(nearest[1]).toPrecision(4))}`;
      note.append(swatch);
    }
    figure.append(note);
  });
  svg.addEventListener('pointerleave', () => { line.remove(); note.remove(); });
}

// While `report --watch` keeps the page fresh: load it again, unless somebody is reading something out of it.
function reloads(seconds) {
  const place = kept(`jaxlab-place ${here}`);
  if (place) scrollTo(0, Number(place));
  keep(`jaxlab-place ${here}`, '');
  setInterval(() => {
    if (document.hidden || String(getSelection()) || document.activeElement?.matches('input')) return;
    keep(`jaxlab-place ${here}`, scrollY);
    location.reload();
  }, seconds * 1000);
}
