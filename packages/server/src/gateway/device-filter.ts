/** The device whose commands a filter asks for: the one it names, else the one that asks. */
export const deviceOfCommandFilter = (filter: string, asking: string): string | undefined => {
  const [first, device, third] = filter.split("/");
  if (first === "#" || (first === "devices" && device === "#")) return asking;
  if ((first !== "devices" && first !== "+") || device === undefined) return undefined;
  if (third !== "commands" && third !== "#" && third !== "+") return undefined;
  return device === "+" ? asking : device;
};
