"""The world around the gateway, simulated: devices, brokers, a link that can be cut, a far end that judges.

Nothing here imports the gateway's own MQTT code: what judges it must be able to disagree with it.
"""
