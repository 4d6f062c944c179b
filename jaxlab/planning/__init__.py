"""What a run will take, before it runs: read off the program that XLA makes of its step (hlo.py, cost.py,
buffers.py) and what is published of chips (chips.py), put together in roofline.py and forecast.py. The verb is `plan`.
"""
