import { DuckDBInstance } from "@duckdb/node-api";
import { crc32c, EventBlockBuilder, EventBlockReader, InternedString } from "@headrace/engine";
import { RowSource } from "/work/main/packages/server/src/lake/row-source.ts";
const N = 500_000;
const blocks: Uint8Array[] = [];
const b = new EventBlockBuilder(256*1024);
const devs = Array.from({length:1000},(_, i)=>({t:new InternedString(`plants/oslo/pumps/pump-${i}`),k:new InternedString(`pump-${String(i).padStart(6,"0")}`),c:new InternedString(`client-pump-${i}`)}));
let seq=0, first=0; const enc=new TextEncoder();
const seal=()=>{ blocks.push(b.seal({logId:1,writer:1,epoch:1,sequence:first},crc32c).slice()); first=seq; b.reset(); };
for(let i=0;i<N;i++){const d=devs[i%1000]; const p=enc.encode(JSON.stringify({temperature:20+Math.sin(i)*50,vibration:(i*7919%1000)/100,state:"running",serial:`SN-${i*31%99991}`,n:i,ok:true}).padEnd(120," "));
 if(!b.append(d.t,d.k,d.c,1,1700000000000+(i/100|0),p,0,p.length)){seal(); b.append(d.t,d.k,d.c,1,1700000000000+(i/100|0),p,0,p.length);} seq++; }
seal();
const inst=await DuckDBInstance.create(":memory:",{threads:"1"}); const c=await inst.connect();
const rs=new RowSource(c);
const variants:Record<string,string>={
 none:"payload",base:"payload, CASE WHEN textual THEN NULL ELSE payload END pb",
 extract:`payload, TRY(CAST(payload->>'$.temperature' AS DOUBLE)) a, TRY(CAST(payload->>'$.vibration' AS DOUBLE)) b`,
 transform:`payload, unnest(TRY(json_transform(payload,'{"temperature":"DOUBLE","vibration":"DOUBLE"}')))`,
 transformNoTry:`payload, unnest(json_transform(payload,'{"temperature":"DOUBLE","vibration":"DOUBLE"}'))`,
 valid:`payload, unnest(CASE WHEN json_valid(payload) THEN json_transform(payload,'{"temperature":"DOUBLE","vibration":"DOUBLE"}') END)`,
};

const run=async(name:string,sql:string)=>{ let best=1e9; for(let r=0;r<4;r++){const cpu0=process.cpuUsage();
 await rs.with(blocks.map(bytes=>({bytes,partition:0,fromSequence:0})), Math.floor(1700000000000/3600000), ()=>c.run(sql)); const cpu=process.cpuUsage(cpu0); best=Math.min(best,(cpu.user+cpu.system)/N);} console.log(best.toFixed(3),name);};
{let best=1e9;for(let r=0;r<4;r++){const cpu0=process.cpuUsage();let n=0;for(const bl of blocks){const rd=new EventBlockReader(bl);while(rd.next())n+=rd.payloadEnd;}const cpu=process.cpuUsage(cpu0);best=Math.min(best,(cpu.user+cpu.system)/N);}console.log(best.toFixed(3),"decode only");}
await run("count","select count(*) from blocks()");
await run("count + length",'select count(*),sum(length(payload)),max(device) from blocks()');
const base="time,device,topic,client,partition,writer,sequence";
const o="(FORMAT parquet, COMPRESSION zstd";
await run("copy ints only",`COPY (SELECT time,partition,writer,sequence FROM blocks()) TO '/tmp/lake/x.parquet' ${o})`);
await run("copy base no payload",`COPY (SELECT ${base} FROM blocks()) TO '/tmp/lake/x.parquet' ${o})`);
await run("copy payload only",`COPY (SELECT payload FROM blocks()) TO '/tmp/lake/x.parquet' ${o})`);
await run("copy all",`COPY (SELECT ${base},payload FROM blocks()) TO '/tmp/lake/x.parquet' ${o})`);
await run("copy all lvl1",`COPY (SELECT ${base},payload FROM blocks()) TO '/tmp/lake/x.parquet' ${o}, COMPRESSION_LEVEL 1)`);
await run("copy all snappy",`COPY (SELECT ${base},payload FROM blocks()) TO '/tmp/lake/x.parquet' (FORMAT parquet, COMPRESSION snappy)`);
await run("copy all lz4",`COPY (SELECT ${base},payload FROM blocks()) TO '/tmp/lake/x.parquet' (FORMAT parquet, COMPRESSION lz4_raw)`);
await run("copy all none",`COPY (SELECT ${base},payload FROM blocks()) TO '/tmp/lake/x.parquet' (FORMAT parquet, COMPRESSION uncompressed)`);
await run("copy all lvl1 dict100",`COPY (SELECT ${base},payload FROM blocks()) TO '/tmp/lake/x.parquet' ${o}, COMPRESSION_LEVEL 1, STRING_DICTIONARY_PAGE_SIZE_LIMIT 65536)`);
await run("copy all lvl1 + 2 fields transform",`COPY (SELECT ${base},payload,unnest(TRY(json_transform(payload,'{"temperature":"DOUBLE","vibration":"DOUBLE"}'))) FROM blocks()) TO '/tmp/lake/x.parquet' ${o}, COMPRESSION_LEVEL 1)`);
await run("copy all lvl1 + 2 fields extract",`COPY (SELECT ${base},payload,TRY_CAST(j[1] AS DOUBLE), TRY_CAST(j[2] AS DOUBLE) FROM (SELECT *, TRY(json_extract_string(payload,['$.temperature','$.vibration'])) j FROM blocks())) TO '/tmp/lake/x.parquet' ${o}, COMPRESSION_LEVEL 1)`);
