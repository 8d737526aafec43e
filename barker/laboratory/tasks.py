"""Tasks: all labs, from easy to hard."""

from barker.laboratory.ackstask import ACKS
from barker.laboratory.bursttask import BURSTS
from barker.laboratory.copytask import COPY
from barker.laboratory.mutetask import MUTE
from barker.laboratory.ringtask import RING
from barker.laboratory.sparetask import SPARE
from barker.laboratory.windowtask import WINDOW

TASKS = {task.name: task for task in (MUTE, BURSTS, RING, ACKS, WINDOW, SPARE, COPY)}
