"""`Deployer("flow.py").dalsegno()`."""

from typing import Any, ClassVar, Dict, Optional, Type, TYPE_CHECKING

from metaflow.runner.deployer_impl import DeployerImpl

if TYPE_CHECKING:
    import metaflow_extensions.dalsegno.plugins.dalsegno.deployer_objects


class DalsegnoDeployer(DeployerImpl):
    """
    Deployer implementation for Dalsegno.

    Parameters
    ----------
    server : str, optional, default None
        The daemon's URL. If not specified, DALSEGNO_URL, else http://127.0.0.1:8320.
    """

    TYPE: ClassVar[Optional[str]] = "dalsegno"

    def __init__(self, deployer_kwargs: Dict[str, str], **kwargs):
        self._deployer_kwargs = deployer_kwargs
        super().__init__(**kwargs)

    @property
    def deployer_kwargs(self) -> Dict[str, Any]:
        return self._deployer_kwargs

    @staticmethod
    def deployed_flow_type() -> (
        "Type[metaflow_extensions.dalsegno.plugins.dalsegno.deployer_objects.DalsegnoDeployedFlow]"
    ):
        from .deployer_objects import DalsegnoDeployedFlow

        return DalsegnoDeployedFlow

    def create(
        self, **kwargs
    ) -> "metaflow_extensions.dalsegno.plugins.dalsegno.deployer_objects.DalsegnoDeployedFlow":
        """
        Deploy a new version of the flow to Dalsegno.

        Parameters
        ----------
        tags : List[str], optional, default None
            Tag all runs with these.
        user_namespace : str, optional, default None
            The namespace in which tasks look for other runs; by default that of the user who deploys.
        strategy : str, optional, default None
            What becomes of a run while others of this flow are unfinished, such as `sequential`.
        only_json : bool, optional, default False
            Deploy nothing; what would be sent is in the deployed flow's `request`.

        Returns
        -------
        DalsegnoDeployedFlow
            The flow deployed to Dalsegno.
        """
        return self._create(self.deployed_flow_type(), **kwargs)

    def from_deployment(
        self, identifier: str, metadata: Optional[str] = None
    ) -> "metaflow_extensions.dalsegno.plugins.dalsegno.deployer_objects.DalsegnoDeployedFlow":
        """
        A flow that this deployer's daemon has already; `DeployedFlow.from_deployment` does the same without a flow file.

        Parameters
        ----------
        identifier : str
            The flow's name in Dalsegno: `MyFlow`, or `project.branch.MyFlow` with @project.
        metadata : str, optional, default None
            Where Metaflow's client looks for runs; by default as it is configured.

        Returns
        -------
        DalsegnoDeployedFlow
            The deployed flow.
        """
        from .deployer_objects import known_by_name

        return self.deployed_flow_type()(known_by_name(identifier, metadata, self.deployer_kwargs, self.env_vars))


_addl_stubgen_modules = ["metaflow_extensions.dalsegno.plugins.dalsegno.deployer_objects"]
