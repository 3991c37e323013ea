// Browsers start no worker for a page that is read from the disk: there the search runs in a frame.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(address) {
      super()
      this.inside = this.start(address)
    }

    /** Returns the window of a hidden frame in which the worker's script has been loaded. */
    async start(address) {
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      const inside = frame.contentWindow
      inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }))
      const script = inside.document.createElement("script")
      script.src = address
      const loaded = new Promise((resolve) => (script.onload = resolve))
      inside.document.head.append(script)
      await loaded
      return inside
    }

    async postMessage(data) {
      const inside = await this.inside
      inside.dispatchEvent(new inside.MessageEvent("message", { data }))
    }
  }
}
