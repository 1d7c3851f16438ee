"""Tables of calls whose meaning is known: what they read and write, and which answers no fingerprint can hold."""

from __future__ import annotations

import re

_CLOCK, _NETWORK, _SHELL = "asks the clock", "uses the network", "runs a command"
_STORE, _DATABASE = "depends on what is in the store", "asks a database"

# Function of nbmlops -> kind, role, place and name of the argument that names it.
VERBS: dict[str, tuple[str, str, int, str]] = {
    "load_dataset": ("dataset", "reads", 0, "ref"),
    "get_dataset": ("dataset", "reads", 0, "ref"),
    "check_dataset": ("dataset", "reads", 0, "ref"),
    "split_dataset": ("dataset", "reads", 0, "ref"),
    "snapshot": ("dataset", "writes", 1, "name"),
    "load_model": ("model", "reads", 0, "ref"),
    "predict": ("model", "reads", 0, "ref"),
    "monitor": ("model", "reads", 0, "ref"),
    "register_model": ("model", "writes", 1, "name"),
    "log_model": ("model", "writes", 1, "name"),
}
# Arguments that may be the path of a file, or a data set's reference.
PATHS_OF_VERBS: dict[str, tuple[tuple[int, str], ...]] = {
    "snapshot": ((0, "data"), (3, "contract"), (4, "labels")),
    "check_dataset": ((1, "contract"),),
    "predict": ((1, "data"),),
    "register_model": ((5, "training_data"),),
    "log_model": ((3, "training_data"),),
    "log_artifact": ((0, "local_path"),),
}
IMPURE_VERBS = {
    "predict": "records predictions",
    "record_feedback": "records feedback",
    "monitor": _STORE,
    "search_runs": _STORE,
    "promote": "decides about a model",
    "approve": "decides about a model",
    "reject": "decides about a model",
    "rollback": "decides about a model",
    "run_pipeline": "runs a pipeline",
}
# The same as magics and commands: the first one or two words behind %mlops.
IMPURE_COMMANDS = {
    "predict": IMPURE_VERBS["predict"],
    "feedback": IMPURE_VERBS["record_feedback"],
    "monitor": _STORE,
    "runs": _STORE,
    "run list": _STORE,
    "run compare": _STORE,
    "compare": _STORE,
    **dict.fromkeys(("promote", "approve", "reject", "rollback"), IMPURE_VERBS["promote"]),
    **{f"model {verb}": IMPURE_VERBS["promote"] for verb in ("promote", "approve", "reject", "rollback")},
    "pipeline run": IMPURE_VERBS["run_pipeline"],
    "stage run": "runs a stage",
}
IMPURE_MAGICS = {
    **dict.fromkeys(("bash", "sh", "script", "!", "sx", "system", "cmd", "perl", "ruby", "python", "python3"), _SHELL),
    **dict.fromkeys(("pip", "conda", "mamba", "micromamba", "uv"), "installs packages"),
    "sql": _DATABASE,
    "store": "depends on what IPython has stored",
}
_IMPURE = {
    **dict.fromkeys(
        (
            "datetime.date.today", "datetime.datetime.now", "datetime.datetime.today", "datetime.datetime.utcnow",
            "pandas.Timestamp.now", "pandas.Timestamp.today", "pandas.Timestamp.utcnow", "pandas.Timestamp.utcnow",
            "pendulum.now", "pendulum.today", "arrow.now", "arrow.utcnow",
        ),
        _CLOCK,
    ),
    **dict.fromkeys(("urllib.request.urlopen", "urllib.request.urlretrieve", "socket.create_connection"), _NETWORK),
    **dict.fromkeys(("os.system", "os.popen", "os.execv", "os.spawnv"), _SHELL),
    **dict.fromkeys(("sqlite3.connect", "sqlalchemy.create_engine", "psycopg.connect", "psycopg2.connect"), _DATABASE),
}  # fmt: skip
_IMPURE_PREFIXES = (
    (("requests.", "httpx.", "aiohttp.", "urllib3.", "http.client.", "ftplib.", "smtplib.", "boto3."), _NETWORK),
    (("subprocess.",), _SHELL),
    (("pandas.read_sql", "polars.read_database"), _DATABASE),
)
# Without arguments these tell the time of now.
_CLOCK_WITHOUT = {"time.localtime": 0, "time.gmtime": 0, "time.ctime": 0, "time.strftime": 1}
_NO_CALLS = ("requests.exceptions.", "httpx.Timeout", "subprocess.CalledProcessError", "subprocess.list2cmdline")

FOLDER_READERS = {"os.listdir", "os.scandir", "os.walk", "glob.glob", "glob.iglob"}
PATH_KEYWORDS = ("filepath_or_buffer", "path_or_buf", "path_or_buffer", "io", "path", "source", "file", "fname", "fp",
                 "filename", "fid", "f", "where")  # fmt: skip
_FILE_READERS = re.compile(
    r"""(pandas|polars|geopandas|cudf|dask\.dataframe|modin\.pandas|duckdb|pyreadstat)\.(read|scan)_\w+
    | numpy\.(load|loadtxt|genfromtxt|fromfile|memmap) | scipy\.io\.loadmat | scipy\.sparse\.load_npz
    | pyarrow\.(parquet|csv|feather|json|orc)\.read_\w+ | pyarrow\.dataset\.dataset | pyarrow\.parquet\.ParquetFile
    | joblib\.load | torch\.load | skops\.io\.load | PIL\.Image\.open | cv2\.imread | imageio(\.v\d)?\.imread
    | xarray\.(open|load)_\w+ | matplotlib\.pyplot\.imread | onnxruntime\.InferenceSession
    | (io|gzip|bz2|lzma)\.open | zipfile\.ZipFile | tarfile\.open""",
    re.VERBOSE,
)
# What a machine, an account or a process is: another notebook server answers otherwise.
_MACHINE = re.compile(
    r"""os\.(getcwdb?|cpu_count|process_cpu_count|uname|getlogin|get[ug]id|getppid|get_terminal_size|getloadavg|environb?
      |sched_getaffinity|path\.(expanduser|expandvars|abspath|realpath))
    | os\.environb?\.(items|keys|values|copy) | pathlib\.(Posix|Windows)?Path\.(home|cwd) | socket\.(gethost\w+|getfqdn)
    | platform\.\w+ | getpass\.\w+ | psutil\.\w+ | multiprocessing\.cpu_count | joblib\.cpu_count
    | shutil\.(which|disk_usage|get_terminal_size) | locale\.(getlocale|getdefaultlocale|getpreferredencoding)
    | uuid\.getnode | resource\.\w+ | importlib\.metadata\.\w+ | torch\.cuda\.(is_available|device_count|get_device_\w+)
    | tensorflow\.config\.list_physical_devices | sys\.(getsizeof|getrefcount|getfilesystemencoding)
    | sysconfig\.\w+ | site\.get\w+ | pandas\.show_versions | sklearn\.show_versions | numpy\.show_\w+""",
    re.VERBOSE,
)
# The same, read without a call.
MACHINE_VALUES = frozenset(
    ["sys.version", "sys.version_info", "sys.platform", "sys.executable", "sys.argv", "sys.prefix", "sys.hexversion",
     "sys.implementation", "sys.flags", "os.name", "sys.maxsize", "sys.byteorder", "sys.api_version"]
)  # fmt: skip
_CLOCKS = re.compile(
    r"time\.(time|perf_counter|monotonic|process_time|thread_time|clock_gettime)(_ns)?|timeit\.\w+|os\.times"
)
_AS_DONE = re.compile(
    r"""concurrent\.futures\.(as_completed|wait) | asyncio\.(as_completed|wait) | threading\.(Thread|Timer)
    | multiprocessing\.Process | _thread\.start_new_thread""",
    re.VERBOSE,
)


def environs(origin: str) -> bool:
    """Whether a call answers with what the machine, the account or the process is."""
    return _MACHINE.fullmatch(origin) is not None


def asks_clock(origin: str) -> bool:
    """Whether a call measures time."""
    return _CLOCKS.fullmatch(origin) is not None


def races(origin: str) -> bool:
    """Whether what follows depends on which of several threads or processes is done first."""
    return _AS_DONE.fullmatch(origin) is not None


def impurity(origin: str, arguments: int) -> str:
    """In words, why the call may answer differently next time; empty where it does not."""
    if found := _IMPURE.get(origin):
        return found
    if _CLOCK_WITHOUT.get(origin) == arguments:
        return _CLOCK
    if origin.startswith(_NO_CALLS):
        return ""
    return next((why for prefixes, why in _IMPURE_PREFIXES if origin.startswith(prefixes)), "")


def reads_file(origin: str) -> bool:
    """Whether the call reads the file that its first argument names."""
    return _FILE_READERS.fullmatch(origin) is not None
