export * from "@headrace/sdk";
