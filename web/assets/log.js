// Streams the log of a running attempt into its <pre>, staying at the end unless the reader scrolled up.
const KEPT_CHARACTERS = 400_000;
const running = new WeakSet();

export async function follow(pre) {
  if (running.has(pre)) return;
  running.add(pre);
  pre.scrollTop = pre.scrollHeight;
  if (!("follow" in pre.dataset)) return;
  try {
    const answer = await fetch(`${pre.dataset.log}&follow=true&offset=${pre.dataset.offset}`);
    if (!answer.ok) return;
    const text = new TextDecoder();
    const reader = answer.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done || !pre.isConnected) { reader.cancel(); return; }
      const end = pre.scrollHeight - pre.scrollTop - pre.clientHeight < 40;
      pre.append(text.decode(value, { stream: true }));
      if (pre.textContent.length > KEPT_CHARACTERS * 1.5) pre.textContent = pre.textContent.slice(-KEPT_CHARACTERS);
      if (end) pre.scrollTop = pre.scrollHeight;
    }
  } catch { /* the page's next refresh shows what there is */ }
}
