/** @file The page: buttons, figures and the curve of the loss. It never computes, so it stays quick while the worker trains. */
import type { FromWorker, ToWorker } from './messages.js';

function element<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page has no ${id}`);
  return found;
}
const show = (id: string, text: string): void => {
  element(id, HTMLElement).textContent = text;
};
const [start, stop, save] = ['start', 'stop', 'save'].map((id) => element(id, HTMLButtonElement));
const canvas = element('plot', HTMLCanvasElement);

const worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' });
const ask = (message: ToWorker): void => worker.postMessage(message);

let losses: number[] = [];
let isDrawing = false;

/** The curve, at most once a frame. */
function draw(): void {
  if (isDrawing) return;
  isDrawing = true;
  requestAnimationFrame(() => {
    isDrawing = false;
    const { clientWidth: width, clientHeight: height } = canvas;
    const scale = devicePixelRatio;
    canvas.width = width * scale;
    canvas.height = height * scale;
    const context = canvas.getContext('2d');
    if (!context || losses.length < 2) return;
    context.scale(scale, scale);
    const top = Math.max(...losses);
    context.strokeStyle = getComputedStyle(canvas).color;
    context.lineWidth = 2;
    context.beginPath();
    losses.forEach((loss, i) => void context.lineTo((i / (losses.length - 1)) * width, height - 4 - (loss / top) * (height - 8)));
    context.stroke();
  });
}

function setTraining(isTraining: boolean): void {
  start.disabled = isTraining;
  stop.disabled = !isTraining;
}

function download(bytes: Uint8Array<ArrayBuffer>): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([bytes], { type: 'application/octet-stream' }));
  link.download = 'shapes.tenon';
  link.click();
  URL.revokeObjectURL(link.href);
}

worker.onmessage = ({ data }: MessageEvent<FromWorker>) => {
  switch (data.kind) {
    case 'ready':
      show(
        'device',
        `${data.device}, ${data.threads} thread${data.threads === 1 ? '' : 's'}${crossOriginIsolated ? '' : ' (the page is not cross-origin isolated)'}`,
      );
      break;
    case 'step':
      losses.push(data.loss);
      show('step', `${data.step}`);
      show('loss', data.loss.toFixed(4));
      show('accuracy', `${(100 * data.accuracy).toFixed(1)} %`);
      save.disabled = false;
      show('status', 'Training.');
      draw();
      break;
    case 'epoch':
      show('test', `${(100 * data.testAccuracy).toFixed(1)} %`);
      break;
    case 'ended':
      setTraining(false);
      show('status', `Trained for ${data.seconds.toFixed(1)} s.`);
      break;
    case 'model':
      download(data.bytes);
      show('status', `Saved shapes.tenon, ${(data.bytes.length / 1e6).toFixed(1)} MB. loadModel('shapes.tenon') takes it in Node.`);
      break;
    case 'failed':
      setTraining(false);
      show('status', data.reason);
  }
};
worker.onerror = (event) => show('status', event.message || 'The worker could not be loaded.');

start.onclick = () => {
  losses = [];
  setTraining(true);
  show('status', 'Drawing the pictures.');
  ask({ kind: 'start' });
};
stop.onclick = () => ask({ kind: 'stop' });
save.onclick = () => ask({ kind: 'save' });
