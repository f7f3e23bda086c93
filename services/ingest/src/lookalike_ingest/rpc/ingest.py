"""`lookalike.ingest.v1.IngestService`."""

from collections.abc import AsyncIterator, Callable, Sequence

from lookalike.ingest.v1 import ingest_service_pb2 as pb
from lookalike.ingest.v1 import job_pb2
from lookalike_common.context import current_context
from lookalike_common.ids import parse_name
from lookalike_common.paging import decode_page_token, encode_page_token
from lookalike_common.status import to_status
from lookalike_ingest.convert.items import from_outcomes, to_item
from lookalike_ingest.convert.jobs import to_failure, to_job
from lookalike_ingest.convert.requests import from_filter, from_job
from lookalike_ingest.job import Job
from lookalike_ingest.jobs import Jobs
from lookalike_ingest.progress_board import ProgressBoard

SERVICE = "lookalike.ingest.v1.IngestService"
_DEFAULT_PAGE = 100


class IngestServicer:
    """Answers from `Jobs`."""

    def __init__(self, jobs: Jobs, board: ProgressBoard, is_serving: Callable[[], bool]) -> None:
        self._jobs = jobs
        self._board = board
        self._is_serving = is_serving

    async def CreateJob(  # noqa: N802 - the name of the rpc
        self, request: pb.CreateJobRequest, _context: object
    ) -> job_pb2.Job:
        """Accept a job."""
        tenant = current_context().tenant
        return await self._to_job(await self._jobs.create(tenant, from_job(request.job)))

    async def GetJob(  # noqa: N802 - the name of the rpc
        self, request: pb.GetJobRequest, _context: object
    ) -> job_pb2.Job:
        """Show one job."""
        return await self._to_job(await self._jobs.get(*_own(request.name)))

    async def ListJobs(  # noqa: N802 - the name of the rpc
        self, request: pb.ListJobsRequest, _context: object
    ) -> pb.ListJobsResponse:
        """List jobs, newest first."""
        tenant = current_context().tenant
        bound = ("jobs", tenant, list(request.states), request.collection, list(request.labels))
        position = decode_page_token(request.page_token, *bound)
        size = request.page_size or _DEFAULT_PAGE
        jobs = await self._jobs.list_page(
            tenant,
            from_filter(request),
            before_generation=int(position[0] or 0) if position else None,
            size=size + 1,
        )
        more = len(jobs) > size
        page = jobs[:size]
        return pb.ListJobsResponse(
            jobs=await self._to_jobs(page, brief=True),
            next_page_token=encode_page_token([page[-1].generation], *bound) if more else "",
        )

    async def CancelJob(  # noqa: N802 - the name of the rpc
        self, request: pb.CancelJobRequest, _context: object
    ) -> job_pb2.Job:
        """Stop a job for good."""
        return await self._to_job(await self._jobs.cancel(*_own(request.name)))

    async def PauseJob(  # noqa: N802 - the name of the rpc
        self, request: pb.PauseJobRequest, _context: object
    ) -> job_pb2.Job:
        """Stop a job until it is resumed."""
        return await self._to_job(await self._jobs.pause(*_own(request.name)))

    async def ResumeJob(  # noqa: N802 - the name of the rpc
        self, request: pb.ResumeJobRequest, _context: object
    ) -> job_pb2.Job:
        """Let a paused job go on."""
        return await self._to_job(await self._jobs.resume(*_own(request.name)))

    async def RetryJob(  # noqa: N802 - the name of the rpc
        self, request: pb.RetryJobRequest, _context: object
    ) -> job_pb2.Job:
        """Start a job with what a final one left."""
        return await self._to_job(await self._jobs.retry(*_own(request.name)))

    async def WatchJob(  # noqa: N802 - the name of the rpc
        self, request: pb.WatchJobRequest, _context: object
    ) -> AsyncIterator[pb.WatchJobResponse]:
        """Report a job whenever it moved."""
        tenant, job_id = _own(request.name)
        jobs = self._jobs.watch(tenant, job_id, request.offset, is_serving=self._is_serving)
        async for job in jobs:
            message = await self._to_job(job, brief=True)
            yield pb.WatchJobResponse(offset=job.revision, job=message)

    async def ListJobItems(  # noqa: N802 - the name of the rpc
        self, request: pb.ListJobItemsRequest, _context: object
    ) -> pb.ListJobItemsResponse:
        """List items in the order of being found."""
        tenant, job_id = _own(request.name)
        bound = ("items", request.name, list(request.outcomes))
        position = decode_page_token(request.page_token, *bound)
        size = request.page_size or _DEFAULT_PAGE
        found = await self._jobs.list_items(
            tenant,
            job_id,
            outcomes=from_outcomes(request.outcomes),
            after=int(position[0] or 0) if position else -1,
            size=size + 1,
        )
        page, more = found[:size], len(found) > size
        token = encode_page_token([page[-1].ordinal], *bound) if more else ""
        return pb.ListJobItemsResponse(
            items=[to_item(each) for each in page], next_page_token=token
        )

    async def ListJobFailures(  # noqa: N802 - the name of the rpc
        self, request: pb.ListJobFailuresRequest, _context: object
    ) -> pb.ListJobFailuresResponse:
        """List the items that failed, in the order of failing."""
        tenant, job_id = _own(request.name)
        position = decode_page_token(request.page_token, "failures", request.name)
        size = request.page_size or _DEFAULT_PAGE
        after = int(position[0] or 0) if position else 0
        found = await self._jobs.list_failures(tenant, job_id, after=after, size=size + 1)
        page, more = found[:size], len(found) > size
        token = encode_page_token([page[-1].sequence], "failures", request.name) if more else ""
        return pb.ListJobFailuresResponse(
            failures=[to_failure(each, job_id, to_status) for each in page],
            next_page_token=token,
        )

    async def _to_job(self, job: Job, *, brief: bool = False) -> job_pb2.Job:
        return (await self._to_jobs([job], brief=brief))[0]

    async def _to_jobs(self, jobs: Sequence[Job], *, brief: bool = False) -> Sequence[job_pb2.Job]:
        shown = await self._board.show(jobs)
        return [
            to_job(job, progress, to_status, brief=brief)
            for job, progress in zip(jobs, shown, strict=True)
        ]


def _own(name: str) -> tuple[str, str]:
    """Return the caller's tenant, and the id in a job's name."""
    return current_context().tenant, parse_name(name, "jobs")[0]
