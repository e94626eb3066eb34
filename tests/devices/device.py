"""A device that takes commands: python3 device.py HOST PORT DEVICE (paho-mqtt 1.6 or 2)."""
import json
import sys
import paho.mqtt.client as mqtt

host, port, device = sys.argv[1:]

def on_connect(client, *_):
    client.subscribe(f"devices/{device}/commands/+", qos=1)

def on_message(client, _, message):
    command = json.loads(message.payload)
    answer = {"ok": True, "result": {"switched": command["args"]["on"]}}
    client.publish(f"devices/{device}/commands/{command['id']}/ack", json.dumps(answer), qos=1)

client = mqtt.Client(*([mqtt.CallbackAPIVersion.VERSION2] if hasattr(mqtt, "CallbackAPIVersion") else []), client_id=device)
client.on_connect, client.on_message = on_connect, on_message
client.connect(host, int(port))
client.loop_forever()
