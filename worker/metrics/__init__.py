"""Figures for Prometheus, from where they are measured to the web processes that are asked.

Every worker keeps its figures in registries of its own and publishes them through Redis each
second, in Prometheus' own text format, under a key that expires. Any number of web processes read
them when they are scraped; nothing is measured twice, and nothing is kept where a process ends.

job_metrics     jobs: submitted, waited, ran, ended and why
worker_metrics  Celery's tasks by Flower's names, and whether the worker consumes
publisher       the thread that publishes
published       what web processes read
exposition      registries as text and back
"""
