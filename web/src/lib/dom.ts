// Elements from values. Text goes in as text, never as markup: an id may hold anything.

export type Child = Node | string | number | null | undefined | false;
type Value = string | number | boolean | null | undefined | ((event: never) => void);

/** A new element with attributes, `on...` handlers and children (elements or text). */
export function el<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, Value> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value as EventListener);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

/** Append elements or text; nothing for null and false. */
export function append(parent: Element, children: Child[]): void {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    parent.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** The element with this id; the page is broken without it. */
export function byId<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found as T;
}

/** Set text only where it changes: no layout for what stays. */
export function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Options of a select, changed only where they differ: an open list stays open. */
export function fillSelect(select: HTMLSelectElement, options: [string, string][], chosen: string): void {
  sync(select, ...options.map(([value, text]) => el("option", { value, "data-key": value }, text)));
  if (select.value !== chosen) select.value = chosen;
}

/**
 * Make a parent's children like the wanted ones by changing those that stand there, so that what is
 * being clicked, typed into or read stays the same element however often the data changes. Children
 * are known by tag and `data-key`, without a key by their order. An element keeps the handlers it
 * was made with: they may know its key, nothing that changes under it.
 */
export function sync(parent: Element, ...wanted: Child[]): void {
  const nodes = wanted.flatMap((child) => (child === null || child === undefined || child === false ? [] : [child instanceof Node ? child : document.createTextNode(String(child))]));
  const given = new Set<Node>(nodes);
  const known = new Map<string, ChildNode[]>();
  for (const node of parent.childNodes) {
    if (!given.has(node)) known.set(identity(node), [...(known.get(identity(node)) ?? []), node]);
  }
  const kept = nodes.map((fresh) => {
    const old = fresh.parentNode === parent ? undefined : known.get(identity(fresh))?.shift();
    if (old) morph(old, fresh);
    return old ?? fresh;
  });
  for (const gone of [...known.values()].flat()) gone.remove();
  let at: Node | null = parent.firstChild;
  for (const node of kept) {
    if (node === at) at = at.nextSibling;
    else place(parent, node, at);
  }
}

const identity = (node: Node): string => (node instanceof Element ? `${node.nodeName} ${node.getAttribute("data-key") ?? ""}` : node.nodeName);

/** Make one element like another of its tag; see `sync`. */
export function morph(old: Node, fresh: Node): void {
  if (!(old instanceof Element) || !(fresh instanceof Element)) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) === value) continue;
    if (name === "style") (old as HTMLElement).style.cssText = value; // the page's policy refuses the attribute
    else old.setAttribute(name, value);
  }
  sync(old, ...fresh.childNodes);
}

// A move takes the focus from what is moved, unless the browser can do better.
function place(parent: Element, node: Node, before: Node | null): void {
  const focused = document.activeElement;
  const moveBefore = (parent as { moveBefore?: (node: Node, before: Node | null) => void }).moveBefore;
  if (moveBefore && node.parentNode === parent) moveBefore.call(parent, node, before);
  else parent.insertBefore(node, before);
  if (focused instanceof HTMLElement && focused !== document.activeElement && node.contains(focused)) focused.focus({ preventScroll: true });
}
