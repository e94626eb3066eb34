/** Key groups: state is kept in 256 of them and a partition is a range of groups, so that the number of partitions can change later. */
export const keyGroups = 256;

/** FNV-1a over the UTF-16 code units of a key, reduced to its group. Part of the stored format: never change it. */
export const keyGroupOf = (key: string): number => {
  let hash = 0x811c9dc5;
  for (let at = 0; at < key.length; at++) {
    const unit = key.charCodeAt(at);
    hash = Math.imul(hash ^ (unit & 0xff), 0x01000193);
    hash = Math.imul(hash ^ (unit >>> 8), 0x01000193);
  }
  return ((hash >>> 24) ^ (hash >>> 16) ^ (hash >>> 8) ^ hash) & 0xff;
};

/** The partition of a key group when there are `partitions` of them. */
export const partitionOfGroup = (group: number, partitions: number): number =>
  Math.floor((group * partitions) / keyGroups);

/** The partition of a key. */
export const partitionOf = (key: string, partitions: number): number =>
  partitions === 1 ? 0 : partitionOfGroup(keyGroupOf(key), partitions);
